"""``/v3/user``: the calling account itself, as far as programs ask (sheet accounts.md §8)."""

from __future__ import annotations

import msgspec
from litestar import get

from sekisho import accounts
from sekisho.credits import last_reset, next_reset
from sekisho.doors.api.caller import Calling
from sekisho.doors.api.v3.subusers import show_credits
from sekisho.doors.http.store import EventStored, SpoolDirectory, Stored
from sekisho.events.stats import REPUTATION_DAYS, Days, added, by_day, reputation
from sekisho.ports.clock import DAY_MS


class UserAccount(msgspec.Struct, frozen=True):
    """Nobody pays here; ``paid`` is what clients take for "nothing is withheld"."""

    type: str
    reputation: float


class UserCredits(msgspec.Struct, frozen=True):
    """What may still be sent; null where there is no limit. Dates are YYYY-MM-DD."""

    remain: int | None
    total: int | None
    overage: int
    used: int | None
    last_reset: str | None
    next_reset: str | None
    reset_frequency: str | None


@get("/v3/user/account", summary="Kind and reputation of the account")
async def account(caller: Calling, event_store: EventStored) -> UserAccount:
    today = caller.now_ms // DAY_MS
    days = Days(today - REPUTATION_DAYS + 1, today)
    sender = caller.subuser_id or 0
    found = await event_store.read(lambda tx: by_day(tx, caller.account_id, [sender], days))
    return UserAccount("paid", reputation(added(found.get(sender, {}).values())))


@get("/v3/user/credits", summary="What may still be sent")
async def credits_(caller: Calling, store: Stored, spool: SpoolDirectory) -> UserCredits:
    granted = await store.read(lambda tx: accounts.credits_of(tx, caller.owner_id))
    shown = await store.in_thread(lambda: show_credits(granted, spool, caller.now_ms))
    until = None if granted is None else next_reset(granted, caller.now_ms)
    return UserCredits(
        remain=shown.remain,
        total=shown.total,
        overage=0,
        used=shown.used,
        last_reset=None if granted is None else last_reset(granted, caller.now_ms).isoformat(),
        next_reset=None if until is None else until.isoformat(),
        reset_frequency=shown.reset_frequency,
    )


HANDLERS = (account, credits_)
