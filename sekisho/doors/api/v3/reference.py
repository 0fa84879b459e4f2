"""``/v3/openapi.json`` and ``/v3/reference``: the API tells what it is. For everybody, without a key."""

from __future__ import annotations

from dataclasses import dataclass

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from sekisho.doors.api import page


@dataclass(frozen=True, slots=True)
class Description:
    """Both, printed once."""

    document: bytes
    page: bytes


Described = NamedDependency[SkipValidation[Description]]


@get("/v3/openapi.json", summary="This API as an OpenAPI document")
async def document(description: Described) -> Response[bytes]:
    return Response(description.document, media_type="application/json")


@get("/v3/reference", summary="This API as a page to read")
async def reference(description: Described) -> Response[bytes]:
    return Response(description.page, media_type="text/html", headers={"Content-Security-Policy": page.POLICY})


HANDLERS = (document, reference)
"""Their description is made when the application is built."""
