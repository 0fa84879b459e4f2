"""``/v3/scopes``: what the calling key may do (sheet api-keys-scopes.md §2 and §4)."""

from __future__ import annotations

from typing import Final

import msgspec
from litestar import get

from sekisho.doors.api.caller import Calling

_STATE: Final = frozenset({"2fa_required"})
"""What the vendor shows among scopes without being one: here everybody logs in with two factors. Never given."""


class Scopes(msgspec.Struct, frozen=True):
    """Every scope of the key, sorted, and ``2fa_required``: the people of the account log in with two factors."""

    scopes: list[str]


@get("/v3/scopes", summary="What the calling key may do")
async def read(caller: Calling) -> Scopes:
    return Scopes(sorted(caller.identity.scopes | _STATE))


HANDLERS = (read,)
