"""Files of the pages: style, script, pictures. From memory; kept by browsers for good, under a name with a version."""

from __future__ import annotations

from typing import Final

from litestar import Response, get
from litestar.params import FromPath

from sekisho.doors.dashboard.deps import WebRequest
from sekisho.doors.dashboard.pages import static_files
from sekisho.doors.dashboard.problems import PageProblem

_TYPES: Final = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
}


@get("/static/{name:str}")
async def file(request: WebRequest, name: FromPath[str]) -> Response[bytes]:
    found = static_files().get(name)
    kind = _TYPES.get(name.rpartition(".")[2])
    if found is None or kind is None:
        raise PageProblem(404)
    content, version = found
    is_versioned = request.query_params.get("v") == version
    keeping = "public, max-age=31536000, immutable" if is_versioned else "no-cache"
    return Response(content, media_type=kind, headers={"Cache-Control": keeping})


HANDLERS = (file,)
