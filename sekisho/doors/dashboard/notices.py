"""Notices: what the owner was told about keys and messages, the latest first."""

from __future__ import annotations

import re
from typing import Final

from litestar import Response, get

from sekisho import notices
from sekisho.doors.dashboard.deps import WebRequest
from sekisho.doors.dashboard.pages import page
from sekisho.doors.dashboard.visitor import Visiting
from sekisho.doors.http.store import Stored

_SHOWN: Final = 50


@get("/notices")
async def listed(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    before = number_of(request.query_params.get("before", ""))
    # One more than is shown tells whether there are older ones.
    found = await store.read(lambda tx: notices.listing(tx, visitor.owner_id, limit=_SHOWN + 1, before=before))
    older = found[_SHOWN - 1].id if len(found) > _SHOWN else None
    return page(request, "notices.html", notices=found[:_SHOWN], older=older, is_first=before is None)


def number_of(text: str) -> int | None:
    """Read the number of a row out of an address; None for whatever is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) else None


HANDLERS = (listed,)
