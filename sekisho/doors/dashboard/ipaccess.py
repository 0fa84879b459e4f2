"""IP access: from which addresses the account is used; a list that would lock out its author is tried out first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from litestar import Response, get, post
from sqlalchemy import Connection

from sekisho import ipaccess
from sekisho.doors.dashboard.deps import WebRequest
from sekisho.doors.dashboard.forms import Form, read_form
from sekisho.doors.dashboard.pages import go, page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.refusals import sentence
from sekisho.doors.dashboard.visitor import Visiting, Visitor, must_stand
from sekisho.doors.http.store import Store, Stored
from sekisho.identity import IPAddress
from sekisho.ipaccess import Attempt, Rule
from sekisho.ipaccess.actions import RULES_MAX, TRIAL_MS
from sekisho.refusal import Declined, Obstacle

DELETE: Final = "access_settings.whitelist.delete"
ACTIVITY: Final = "access_settings.activity.read"

_ATTEMPTS_SHOWN: Final = 100
_ENTRIES_MAX: Final = 48 * 1024
_MINUTE_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class LockOut:
    """A change that was not made, since it would keep out whoever asked for it."""

    entries: str = ""
    """To be added."""
    rule_ids: Sequence[int] = ()
    """To be taken away."""


@get("/ip-access")
async def listed(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    return await _list(request, visitor, store)


@post("/ip-access/add")
async def add(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    form = await read_form(request)
    typed = form.text("entries", _ENTRIES_MAX)
    entries = _entries(typed)
    if form.flag("with_mine"):
        entries.append(str(visitor.address))
    if not 1 <= len(entries) <= RULES_MAX:
        text = words(request).gettext("Write at least one address or network.")
        return await _list(request, visitor, store, typed=typed, errors={"entries": text})

    def act(tx: Connection) -> tuple[Rule, ...] | Declined:
        must_stand(tx, visitor)
        concerned = _concerned(visitor)
        return ipaccess.add(tx, visitor.owner_id, entries, caller=concerned, confirmed=False, by=visitor.by)

    found = await store.attempt(act)
    if isinstance(found, Declined):
        return await _declined(request, visitor, store, found, LockOut(entries=typed))
    return go("/ip-access", flash="ip-access-added", request=request)


@post("/ip-access/remove")
async def remove(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    ids = _rule_ids(await read_form(request))
    if not ids:
        text = words(request).gettext("Tick what is to be taken off the list.")
        return await _list(request, visitor, store, fault=text)

    def act(tx: Connection) -> tuple[Rule, ...] | Declined:
        must_stand(tx, visitor)
        concerned = _concerned(visitor)
        return ipaccess.remove(tx, visitor.owner_id, ids, caller=concerned, confirmed=False, by=visitor.by)

    found = await store.attempt(act)
    if isinstance(found, Declined):
        return await _declined(request, visitor, store, found, LockOut(rule_ids=ids))
    return go("/ip-access", flash="ip-access-removed", request=request)


@post("/ip-access/trial")
async def try_out(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    """Make a change that locks its author out, for ten minutes."""
    form = await read_form(request)
    entries, ids = _entries(form.text("entries", _ENTRIES_MAX)), set(_rule_ids(form))
    if ids and not visitor.may(DELETE):
        raise PageProblem(403)
    until_ms = visitor.now_ms + TRIAL_MS

    def act(tx: Connection) -> tuple[Rule, ...] | Declined:
        must_stand(tx, visitor)
        kept = [str(rule.network) for rule in ipaccess.rules_of(tx, visitor.owner_id) if rule.id not in ids]
        return ipaccess.replace_provisionally(tx, visitor.owner_id, [*kept, *entries], until_ms=until_ms, by=visitor.by)

    found = await store.attempt(act)
    if isinstance(found, Declined):
        return await _declined(request, visitor, store, found, LockOut())
    # The next page that this browser asks for is refused: what is to be done now stands on this one.
    return page(request, "ip-access-trial.html", rules=found, until_ms=until_ms)


@post("/ip-access/confirm")
async def confirm(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    def act(tx: Connection) -> Declined | None:
        must_stand(tx, visitor)
        return ipaccess.confirm(tx, visitor.owner_id, address=visitor.address, by=visitor.by)

    declined = await store.attempt(act)
    if declined is not None:
        return await _declined(request, visitor, store, declined, LockOut())
    return go("/ip-access", flash="ip-access-confirmed", request=request)


@post("/ip-access/undo")
async def undo(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    def act(tx: Connection) -> Declined | None:
        must_stand(tx, visitor)
        return ipaccess.roll_back(tx, visitor.owner_id, by=visitor.by)

    declined = await store.attempt(act)
    if declined is not None:
        return await _declined(request, visitor, store, declined, LockOut())
    return go("/ip-access", flash="ip-access-undone", request=request)


HANDLERS = (listed, add, remove, try_out, confirm, undo)


async def _declined(
    request: WebRequest, visitor: Visitor, store: Store, declined: Declined, wanted: LockOut
) -> Response[str]:
    """Say why a change was not made; what would lock its author out may be tried out."""
    if declined.obstacle is Obstacle.ACCESS_EXCLUDES_CALLER and (wanted.entries or wanted.rule_ids):
        return await _list(request, visitor, store, lock_out=wanted, typed=wanted.entries)
    text = words(request).gettext(sentence(declined))
    if wanted.entries:
        return await _list(request, visitor, store, typed=wanted.entries, errors={"entries": text})
    return await _list(request, visitor, store, fault=text)


async def _list(
    request: WebRequest,
    visitor: Visitor,
    store: Store,
    *,
    typed: str = "",
    errors: dict[str, str] | None = None,
    fault: str | None = None,
    lock_out: LockOut | None = None,
) -> Response[str]:
    def look(tx: Connection) -> tuple[tuple[Rule, ...], int | None, tuple[Attempt, ...]]:
        shows = visitor.may(ACTIVITY)
        attempts = ipaccess.recent_attempts(tx, visitor.owner_id, _ATTEMPTS_SHOWN) if shows else ()
        return ipaccess.rules_of(tx, visitor.owner_id), ipaccess.pending_until(tx, visitor.owner_id), attempts

    rules, until_ms, attempts = await store.read(look)
    context: dict[str, Any] = {"errors": errors} if errors else {}
    return page(
        request,
        "ip-access.html",
        status=422 if errors or fault or lock_out is not None else 200,
        rules=rules,
        mine=_mine(rules, visitor.address),
        concerned=_concerned(visitor) is not None,
        until_ms=until_ms,
        minutes=None if until_ms is None else max(0, -(-(until_ms - visitor.now_ms) // _MINUTE_MS)),
        attempts=attempts,
        shows_attempts=visitor.may(ACTIVITY),
        typed=typed,
        fault=fault,
        lock_out=lock_out,
        **context,
    )


def _mine(rules: Sequence[Rule], address: IPAddress) -> bool:
    """Whether the list lets this address in."""
    return ipaccess.admits((rule.network for rule in rules), address)


def _concerned(visitor: Visitor) -> IPAddress | None:
    """Give the visitor's address when he himself is judged by the list; who acts for a subuser never is by its list."""
    return None if visitor.acts_for_another else visitor.address


def _entries(text: str) -> list[str]:
    return re.split(r"[\s,]+", text.strip()) if text.strip() else []


def _rule_ids(form: Form) -> list[int]:
    """Read the ticked entries; raises PageProblem for what no page of ours sent."""
    texts = form.all("rule")
    if len(texts) > RULES_MAX or not all(re.fullmatch(r"[0-9]{1,10}", text, re.ASCII) for text in texts):
        raise PageProblem(400)
    return [int(text) for text in texts]
