"""``GET /v3/notices``: what the account was told. Ours, not the vendor's."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import get
from litestar.params import FromQuery

from sekisho import notices
from sekisho.doors.api.caller import Calling
from sekisho.doors.api.paging import read_before, read_page
from sekisho.doors.http.store import Stored

_DEFAULT: Final = 100


class Notice(msgspec.Struct, frozen=True):
    """One thing that the owner was told. ``count`` is how often it happened within an hour; times are epoch seconds.

    ``subject`` is the id of the key or of the message that it is about; ``mailed_at`` is null until a mail was sent.
    """

    id: int
    kind: str
    subject: str
    text: str
    count: int
    first_at: int
    last_at: int
    mailed_at: int | None


class Notices(msgspec.Struct, frozen=True):
    """The latest first."""

    result: list[Notice]


@get("/v3/notices", summary="What the owner was told about keys and messages")
async def listing(
    caller: Calling, store: Stored, limit: FromQuery[int | None] = None, before: FromQuery[int | None] = None
) -> Notices:
    page = read_page(limit, None, default=_DEFAULT)
    seen = read_before(before)
    found = await store.read(lambda tx: notices.listing(tx, caller.owner_id, limit=page.limit, before=seen))
    return Notices(
        [
            Notice(
                one.id,
                one.kind,
                one.subject,
                one.text,
                one.count,
                one.first_ms // 1000,
                one.last_ms // 1000,
                None if one.mailed_ms is None else one.mailed_ms // 1000,
            )
            for one in found
        ]
    )


HANDLERS = (listing,)
