"""The reference page: the OpenAPI document as HTML that needs no program and loads nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from typing import Any, Final

Node = dict[str, Any]

_STYLE: Final = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1b1b1b;background:#fff}
code{font:14px/1.4 ui-monospace,monospace}
section{border-top:1px solid #bbb;margin-top:1.5rem}
table{border-collapse:collapse;margin:.5rem 0}
td,th{border:1px solid #bbb;padding:.2rem .5rem;text-align:left;vertical-align:top}
nav li{list-style:none}
@media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#161616}a{color:#8cb4ff}}
"""

POLICY: Final = (
    "default-src 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    + "'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page's Content-Security-Policy: this one style and nothing else."""

_BEHALF: Final = {
    "honoured": "names the subuser that the call is about",
    "ignored": "has no effect",
    "refused": "is refused: this is the parent's affair",
}


def render(document: Node) -> str:
    """Print the page."""
    info = document["info"]
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>",
        '<p>The same for programs: <a href="/v3/openapi.json">openapi.json</a>.</p>',
        *_contents(document),
    ]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts += _operation(method.upper(), path, operation, document)
    parts.append("<h2>Documents</h2>")
    for name, schema in document["components"]["schemas"].items():
        parts += _document(name, schema)
    parts.append("</body></html>\n")
    return "".join(parts)


def _contents(document: Node) -> Iterator[str]:
    yield "<nav><h2>Calls</h2><ul>"
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            name = escape(operation["operationId"])
            yield f'<li><a href="#{name}"><code>{method.upper()} {escape(path)}</code></a> '
            yield f"{escape(operation['summary'])}</li>"
    yield "</ul></nav>"


def _operation(method: str, path: str, operation: Node, document: Node) -> Iterator[str]:
    yield f'<section id="{escape(operation["operationId"])}"><h3><code>{method} {escape(path)}</code></h3>'
    yield f"<p>{escape(operation['summary'])}.</p><ul>"
    if operation.get("security") == []:
        yield "<li>No key.</li>"
    else:
        scope = operation.get("x-scope")
        yield f"<li>Scope: <code>{escape(scope)}</code></li>" if scope else "<li>Any key in force.</li>"
    yield f"<li><code>on-behalf-of</code> {_BEHALF[operation['x-on-behalf-of']]}.</li>"
    pace = operation["x-rate-limit"]
    yield f"<li>Rate: {pace['calls']:,} calls in {pace['seconds']} s.</li></ul>"
    if operation["parameters"]:
        yield "<table><tr><th>parameter<th>in<th>type<th></tr>"
        for one in operation["parameters"]:
            needed = "required. " if one["required"] else ""
            yield f"<tr><td><code>{escape(one['name'])}</code><td>{one['in']}<td>{_type(one['schema'])}"
            yield f"<td>{needed}{escape(one.get('description', ''))}</tr>"
        yield "</table>"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<p>Body, <code>{escape(media_type)}</code>: {_type(content.get('schema', {}))}</p>"
    yield "<table><tr><th>answer<th>body<th></tr>"
    for status, response in operation["responses"].items():
        found = document["components"]["responses"][status] if "$ref" in response else response
        bodies = [
            _type(content["schema"]) if "schema" in content else f"<code>{escape(media_type)}</code>"
            for media_type, content in found.get("content", {}).items()
        ]
        yield f"<tr><td>{status}<td>{', '.join(bodies)}<td>{escape(found['description'])}</tr>"
    yield "</table></section>"


def _document(name: str, schema: Node) -> Iterator[str]:
    yield f'<section id="schema-{escape(name)}"><h3>{escape(name)}</h3><p>{escape(schema.get("description", ""))}</p>'
    if properties := schema.get("properties"):
        yield "<table><tr><th>field<th>type<th></tr>"
        for field, kind in properties.items():
            needed = "required" if field in schema.get("required", ()) else ""
            yield f"<tr><td><code>{escape(field)}</code><td>{_type(kind)}<td>{needed}</tr>"
        yield "</table>"
    else:
        yield f"<p>{_type(schema)}</p>"
    yield "</section>"


def _type(schema: Node) -> str:
    """Name a type in a few words, with links to the documents it is made of."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#schema-{name}">{name}</a>'
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_type(one) for one in schema[several])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_type(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type(schema['additionalProperties'])}"
    return escape(str(schema.get("type", "any")))
