"""The API describes itself: an OpenAPI 3.1 document, made once from the handlers and the table of routes.

What a handler takes and gives is read from its signature, who may call it from ROUTES, so neither can drift from what
is served. Nothing here is asked while requests are answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, get_args, get_origin

import msgspec
from litestar import Response
from litestar.enums import ParamType
from litestar.handlers import HTTPRouteHandler
from litestar.params import BodyKwarg, PathParameter, QueryParameter
from litestar.typing import FieldDefinition

import sekisho
from sekisho.doors.api.mail_schema import Mail
from sekisho.doors.api.problems import ErrorBody
from sekisho.doors.api.routes import ROUTES, Behalf, Route

Node = dict[str, Any]
"""A part of the document, which is JSON."""

Place = tuple[str, str]
"""Method and path, as in ROUTES."""

_REF: Final = "#/components/schemas/{name}"

_BODIES: Final[dict[Place, tuple[str, Any]]] = {
    ("POST", "/leaked-key"): ("text/plain", str),
    ("POST", "/v3/mail/send"): ("application/json", Mail),
}
"""Bodies that their handlers read themselves."""

_TEXTS: Final[dict[Place, str]] = {
    ("GET", "/v3/audit_log/export"): "application/x-ndjson",
    ("GET", "/v3/openapi.json"): "application/json",
    ("GET", "/v3/reference"): "text/html; charset=utf-8",
    ("POST", "/v3/mail/send"): "text/plain",
}
"""Answers that are no document of ours: their type."""

_ALSO: Final[dict[Place, dict[int, str]]] = {
    ("POST", "/v3/mail/send"): {200: "Sandbox mode: the request is in order, and nothing is sent."},
    ("POST", "/v3/api_keys/{api_key_id}/compromise/purge"): {409: ""},
}
"""What a route answers besides what all of its kind do; an empty text: an error."""

_STATUS_TEXTS: Final = {
    400: "The request is wrong: each error says where and why.",
    401: "No key, or none that is in force.",
    403: "The key lacks the scope, or may not do this here.",
    404: "No such thing, or not the caller's.",
    406: "The client accepts nothing that this call answers with.",
    409: "It is not in the state that this needs.",
    413: "The body is too large.",
    415: "The body is not of the type that this call takes.",
    429: "Too many requests; Retry-After says when to come back.",
    500: "A fault of the server.",
    503: "Not now: storage or another part cannot be reached. Nothing was done.",
}

_BEHALF: Final = "on-behalf-of"

_SUMMARY_OF_HEADERS: Final = {
    "X-Request-Id": "The id that the server's log has of this request.",
    "X-RateLimit-Limit": "Calls of this class in a window.",
    "X-RateLimit-Remaining": "Those that are left of them.",
    "X-RateLimit-Reset": "Epoch seconds of the window's end.",
}


def describe(handlers: Sequence[HTTPRouteHandler]) -> Node:
    """Make the document of these handlers; raises KeyError when one of them has no row in ROUTES."""
    found = sorted(_operations(handlers), key=lambda one: (one[0][1], one[0][0]))
    types = [kind for _, handler in found for kind in _types(handler)]
    types += [kind for _, kind in _BODIES.values()]
    _, schemas = msgspec.json.schema_components([*types, ErrorBody], ref_template=_REF)
    paths: dict[str, Node] = {}
    for place, handler in found:
        method, path = place
        paths.setdefault(path, {})[method.lower()] = _operation(place, handler, ROUTES[place])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sekisho Web API",
            "version": sekisho.__version__,
            "description": "The vendor's v3 dialect; what is ours besides is said where it stands.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key: `Authorization: Bearer SG.…`"}
            },
            "headers": {
                name: {"description": text, "schema": {"type": "string"}} for name, text in _SUMMARY_OF_HEADERS.items()
            },
            "responses": {
                str(status): {
                    "description": text,
                    "headers": _headers("X-Request-Id"),
                    "content": {"application/json": {"schema": {"$ref": _REF.format(name="ErrorBody")}}},
                }
                for status, text in _STATUS_TEXTS.items()
            },
            "schemas": schemas,
        },
    }


def takes_json(handler: HTTPRouteHandler) -> bool:
    """Whether the framework reads a JSON body for it."""
    return any(isinstance(one.kwarg_definition, BodyKwarg) for one in _parameters(handler).values())


def answer_type(place: Place) -> str:
    """The media type of what a route answers with when all is well."""
    return _TEXTS.get(place, "application/json").partition(";")[0]


def _operations(handlers: Sequence[HTTPRouteHandler]) -> Iterator[tuple[Place, HTTPRouteHandler]]:
    for handler in handlers:
        for path in handler.paths:
            plain = re.sub(r":\w+}", "}", path)
            for method in handler.http_methods:
                yield (str(method), plain), handler


def _parameters(handler: HTTPRouteHandler) -> dict[str, FieldDefinition]:
    return handler.parsed_fn_signature.parameters


def _types(handler: HTTPRouteHandler) -> Iterator[Any]:
    for field in _parameters(handler).values():
        if isinstance(field.kwarg_definition, BodyKwarg | PathParameter | QueryParameter):
            yield field.annotation
    answer = _answer_of(handler)
    if answer is not None:
        yield answer


def _answer_of(handler: HTTPRouteHandler) -> Any:
    """The type of the answer's document; None when it is none."""
    answer = handler.parsed_fn_signature.return_type.annotation
    if get_origin(answer) is Response:
        (answer,) = get_args(answer)
    is_none = answer is None or answer is type(None) or answer is bytes
    return None if is_none or (isinstance(answer, type) and issubclass(answer, Response)) else answer


def _schema(kind: Any) -> Node:
    (found,), _ = msgspec.json.schema_components([kind], ref_template=_REF)
    return found


def _operation(place: Place, handler: HTTPRouteHandler, route: Route) -> Node:
    method, path = place
    operation: Node = {
        "operationId": f"{handler.fn.__module__.rpartition('.')[2]}.{handler.fn.__name__}",
        "summary": handler.summary or path,
        "tags": [tag_of(path)],
        "parameters": [*_listed(handler, place), *([_behalf()] if route.behalf is Behalf.HONOURED else [])],
        "responses": _responses(place, handler, route),
        "x-on-behalf-of": route.behalf.name.lower(),
        "x-rate-limit": {"calls": route.pace_of(method).calls, "seconds": route.pace_of(method).window_s},
    }
    if route.scope is not None:
        operation["x-scope"] = route.scope
        operation["description"] = f"Needs the scope `{route.scope}`."
    if route.public:
        operation["security"] = []
    body = _body(place, handler)
    if body is not None:
        operation["requestBody"] = body
    return operation


def tag_of(path: str) -> str:
    """The group that a route is shown in: ``api_keys``."""
    return path.removeprefix("/v3/").lstrip("/").partition("/")[0]


def _listed(handler: HTTPRouteHandler, place: Place) -> Iterator[Node]:
    for name, field in _parameters(handler).items():
        definition = field.kwarg_definition
        if not isinstance(definition, PathParameter | QueryParameter):
            continue
        is_path = f"{{{name}}}" in place[1]
        shown: Node = {
            "name": definition.name or definition.query or name if not is_path else name,
            "in": (ParamType.PATH if is_path else ParamType.QUERY).value,
            "required": is_path or field.is_required,
            "schema": _schema(_without_none(field.annotation)),
        }
        if definition.description:
            shown["description"] = definition.description
        yield shown


def _without_none(kind: Any) -> Any:
    """A parameter that may be left out; there is no way to write null in a query."""
    rest = [one for one in get_args(kind) if one is not type(None)]
    if type(None) not in get_args(kind):
        return kind
    found = rest[0]
    for one in rest[1:]:
        found |= one
    return found


def _behalf() -> Node:
    return {
        "name": _BEHALF,
        "in": "header",
        "required": False,
        "description": "Name of a subuser of the calling account: the call is about that subuser's things.",
        "schema": {"type": "string", "maxLength": 64},
    }


def _body(place: Place, handler: HTTPRouteHandler) -> Node | None:
    if place in _BODIES:
        media_type, kind = _BODIES[place]
        return {"required": True, "content": {media_type: {"schema": _schema(kind)}}}
    for field in _parameters(handler).values():
        if isinstance(field.kwarg_definition, BodyKwarg):
            return {"required": True, "content": {"application/json": {"schema": _schema(field.annotation)}}}
    return None


def _responses(place: Place, handler: HTTPRouteHandler, route: Route) -> Node:
    responses: Node = {str(handler.status_code): _success(place, handler)}
    errors = {406, 429, 500, 503}
    if not route.public:
        errors |= {401, 403, 404}
    if "{" in place[1]:
        errors.add(404)
    if any(isinstance(one.kwarg_definition, QueryParameter) for one in _parameters(handler).values()):
        errors.add(400)
    if place in _BODIES or takes_json(handler):
        errors |= {400, 409, 413, 415}
    for status, text in _ALSO.get(place, {}).items():
        if text:
            responses[str(status)] = {"description": text, "headers": _headers(*_SUMMARY_OF_HEADERS)}
        else:
            errors.add(status)
    responses |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in errors}
    return dict(sorted(responses.items()))


def _success(place: Place, handler: HTTPRouteHandler) -> Node:
    answer = _answer_of(handler)
    shown: Node = {"description": "Done.", "headers": _headers(*_SUMMARY_OF_HEADERS)}
    if answer is not None:
        shown["content"] = {"application/json": {"schema": _schema(answer)}}
    elif place in _TEXTS:
        shown["content"] = {_TEXTS[place]: {}}
    return shown


def _headers(*names: str) -> Node:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}
