"""``/v3/access_settings``: from which addresses an account is used, and who tried (sheet accounts.md §6)."""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec
from litestar import delete, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from sqlalchemy import Connection

from sekisho import ipaccess
from sekisho.doors.api.caller import Caller, Calling, must_stand
from sekisho.doors.api.paging import read_page
from sekisho.doors.api.problems import invalid, plain
from sekisho.doors.http.store import Stored
from sekisho.identity import IPAddress
from sekisho.ipaccess.actions import RULES_MAX
from sekisho.ipaccess.activity import KEPT
from sekisho.refusal import Declined

_ACTIVITY_DEFAULT: Final = 20

_CONFIRM: Final = "Make the change also if it locks the caller out."


class Entry(msgspec.Struct, frozen=True):
    """An address (``192.0.2.7``, ``2001:db8::1``), a network (``192.0.2.0/24``), or ``192.0.2.*``."""

    ip: str


class Entries(msgspec.Struct, frozen=True):
    """What to add. ``confirm`` is ours: it makes the change also if it locks the caller out."""

    ips: list[Entry]
    confirm: bool = False


class Removal(msgspec.Struct, frozen=True):
    """What to take away. ``confirm`` is ours: it makes the change also if it locks the caller out."""

    ids: list[int]
    confirm: bool = False


class Rule(msgspec.Struct, frozen=True):
    """One entry of the list, as a network; times are epoch seconds."""

    id: int
    ip: str
    created_at: int
    updated_at: int


class Rules(msgspec.Struct, frozen=True):
    """Entries of the list. None at all: every address is let in."""

    result: list[Rule]


class Attempt(msgspec.Struct, frozen=True):
    """All attempts of one kind from one address; times are epoch seconds.

    ``auth_method`` is Web, API or SMTP. ``location`` is always empty: addresses are told to nobody.
    """

    allowed: bool
    auth_method: str
    first_at: int
    ip: str
    last_at: int
    location: str


class Attempts(msgspec.Struct, frozen=True):
    """The latest first."""

    result: list[Attempt]


@get("/v3/access_settings/whitelist", summary="List the addresses from which the account is used")
async def listed(caller: Calling, store: Stored) -> Rules:
    return _shown(await store.read(lambda tx: ipaccess.rules_of(tx, caller.owner_id)))


@post("/v3/access_settings/whitelist", summary="Add addresses from which the account is used")
async def add(
    caller: Calling,
    store: Stored,
    data: JSONBody[Entries],
    confirm: Annotated[bool, QueryParameter(description=_CONFIRM)] = False,
) -> Rules:
    if not 1 <= len(data.ips) <= RULES_MAX:
        raise invalid(f"ips must name 1 to {RULES_MAX} addresses", "ips")
    entries = [entry.ip for entry in data.ips]
    confirmed = confirm or data.confirm

    def act(tx: Connection) -> tuple[ipaccess.Rule, ...] | Declined:
        must_stand(tx, caller)
        concerned = _concerned(caller)
        return ipaccess.add(tx, caller.owner_id, entries, caller=concerned, confirmed=confirmed, by=caller.by)

    return _shown(await store.write(act, field="ips"))


@delete("/v3/access_settings/whitelist", summary="Remove some of the addresses")
async def remove(
    caller: Calling,
    store: Stored,
    data: JSONBody[Removal],
    confirm: Annotated[bool, QueryParameter(description=_CONFIRM)] = False,
) -> None:
    if not 1 <= len(data.ids) <= RULES_MAX:
        raise invalid(f"ids must name 1 to {RULES_MAX} entries", "ids")
    await _remove(caller, store, data.ids, confirmed=confirm or data.confirm)


@get("/v3/access_settings/whitelist/{rule_id:str}", summary="Show one of the addresses")
async def read(caller: Calling, store: Stored, rule_id: FromPath[str]) -> Rules:
    number = _rule_id(rule_id)
    found = await store.read(lambda tx: ipaccess.find_rule(tx, caller.owner_id, number))
    if found is None:
        raise plain(404)
    return _shown((found,))


@delete("/v3/access_settings/whitelist/{rule_id:str}", summary="Remove one of the addresses")
async def remove_one(
    caller: Calling,
    store: Stored,
    rule_id: FromPath[str],
    confirm: Annotated[bool, QueryParameter(description=_CONFIRM)] = False,
) -> None:
    await _remove(caller, store, [_rule_id(rule_id)], confirmed=confirm)


@get("/v3/access_settings/activity", summary="Who used the account, or tried to, and from where")
async def activity(caller: Calling, store: Stored, limit: FromQuery[int | None] = None) -> Attempts:
    page = read_page(limit, None, default=_ACTIVITY_DEFAULT, most=KEPT)
    found = await store.read(lambda tx: ipaccess.recent_attempts(tx, caller.owner_id, page.limit))
    return Attempts(
        [Attempt(one.allowed, one.method, one.first_ms // 1000, one.address, one.last_ms // 1000, "") for one in found]
    )


HANDLERS = (activity, add, listed, read, remove, remove_one)


async def _remove(caller: Caller, store: Stored, rule_ids: list[int], *, confirmed: bool) -> None:
    def act(tx: Connection) -> tuple[ipaccess.Rule, ...] | Declined:
        must_stand(tx, caller)
        concerned = _concerned(caller)
        return ipaccess.remove(tx, caller.owner_id, rule_ids, caller=concerned, confirmed=confirmed, by=caller.by)

    await store.write(act, field="ids")


def _concerned(caller: Caller) -> IPAddress | None:
    """Give the caller's address when its own key is judged by the list.

    A parent that acts on a subuser's behalf is judged by its own list, and can always take back what it does here.
    """
    return caller.address if caller.owner_id == caller.identity.sender_id else None


def _rule_id(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,10}", text, re.ASCII):
        raise plain(404)
    return int(text)


def _shown(rules: tuple[ipaccess.Rule, ...]) -> Rules:
    return Rules([Rule(rule.id, str(rule.network), rule.created_ms // 1000, rule.updated_ms // 1000) for rule in rules])
