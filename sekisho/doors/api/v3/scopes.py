"""``/v3/scopes``: what the calling key may do (sheet api-keys-scopes.md §2)."""

from __future__ import annotations

import msgspec
from litestar import get

from sekisho.doors.api.caller import Calling


class Scopes(msgspec.Struct, frozen=True):
    """Every scope of the key, sorted."""

    scopes: list[str]


@get("/v3/scopes", summary="What the calling key may do")
async def read(caller: Calling) -> Scopes:
    return Scopes(sorted(caller.identity.scopes))


HANDLERS = (read,)
