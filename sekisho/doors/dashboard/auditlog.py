"""The audit log: read, searched, exported, and verified against itself and the heads that were signed of it."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from litestar import Response, get, post
from litestar.response import Stream
from sqlalchemy import Connection

from sekisho import audit, users
from sekisho.audit import Entry, Search
from sekisho.audit.chain import Link
from sekisho.audit.export import CSV_HEAD, encode_line, encode_row
from sekisho.audit.reading import links_after
from sekisho.audit.signed import BadHead, Signer
from sekisho.audit.verifying import Verdict, verify_log
from sekisho.doors.dashboard.deps import TheParts, WebRequest
from sekisho.doors.dashboard.notices import number_of
from sekisho.doors.dashboard.pages import page, words
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.doors.dashboard.visitor import Visiting, Visitor
from sekisho.doors.http.store import Store, Stored
from sekisho.languages import N_
from sekisho.ports.clock import DAY_MS

_SHOWN: Final = 50
_EXPORT_BATCH: Final = 500
_FIELD_MAX: Final = 255

FIELDS: Final = ("action", "subject", "actor", "since", "until")

FORMATS: Final[dict[str, tuple[str, str, bytes, Callable[[Link], bytes]]]] = {
    "json": ("audit-log.jsonl", "application/x-ndjson", b"", encode_line),
    "csv": ("audit-log.csv", "text/csv; charset=utf-8", CSV_HEAD, encode_row),
}
"""Name of the file, its type, what stands on top, how an entry is printed."""


@get("/audit")
async def read(request: WebRequest, visitor: Visiting, store: Stored) -> Response[str]:
    typed = {name: request.query_params.get(name, "").strip()[:_FIELD_MAX] for name in FIELDS}
    _ = words(request).gettext
    errors = {
        name: _("Write a day such as 2027-01-31.")
        for name in ("since", "until")
        if typed[name] and _day_ms(typed[name]) is None
    }
    before = number_of(request.query_params.get("before", ""))
    search = _search(typed)

    def look(tx: Connection) -> tuple[Sequence[Entry], dict[str, str]]:
        # One more than is shown tells whether there are older ones.
        found = audit.entries(tx, visitor.owner_id, limit=_SHOWN + 1, before=before, search=search)
        return found, _names(tx, visitor)

    found, names = ((), {}) if errors else await store.read(look)
    older = None
    if len(found) > _SHOWN:
        asked = {name: value for name, value in typed.items() if value}
        older = "/audit?" + urlencode({**asked, "before": found[_SHOWN - 1].seq})
    return page(
        request,
        "audit.html",
        status=422 if errors else 200,
        entries=found[:_SHOWN],
        names=names,
        typed=typed,
        older=older,
        is_first=before is None,
        errors=errors,
    )


@post("/audit/verify")
async def verify(request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored) -> Response[str]:
    key = Signer(parts.sealer).public_key

    def walk(tx: Connection) -> Verdict | _Unreadable:
        try:
            return verify_log(tx, visitor.owner_id, parts.audit_heads, key)
        except (BadHead, OSError):
            return _Unreadable()

    if parts.verifying.locked():
        raise PageProblem(503, N_("A log is being verified already. Wait for that to end, then try again."))
    async with parts.verifying:
        verdict = await store.read(walk)
    return page(request, "audit-verified.html", verdict=None if isinstance(verdict, _Unreadable) else verdict)


@get("/audit/export")
async def export(request: WebRequest, visitor: Visiting, store: Stored) -> Stream:
    found = FORMATS.get(request.query_params.get("format", ""))
    if found is None:
        raise PageProblem(404)
    name, media_type, head, encode = found
    owner = visitor.owner_id
    # The first rows before the status: a database that cannot be read is still a 503 here.
    first = await store.read(lambda tx: links_after(tx, owner, 0, _EXPORT_BATCH))
    return Stream(
        _rows(store, owner, first, head, encode),
        media_type=media_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


HANDLERS = (read, verify, export)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """The file of signed heads is not what it should be: that is told, and is itself a finding."""


async def _rows(
    store: Store, owner: int, first: Sequence[Link], head: bytes, encode: Callable[[Link], bytes]
) -> AsyncIterator[bytes]:
    batch = first
    yield head + b"".join(map(encode, batch))
    while len(batch) == _EXPORT_BATCH:
        after = batch[-1].seq
        batch = await store.read(lambda tx, after=after: links_after(tx, owner, after, _EXPORT_BATCH))  # type: ignore[misc]
        yield b"".join(map(encode, batch))


def _search(typed: dict[str, str]) -> Search:
    until_ms = _day_ms(typed["until"])
    return Search(
        action=typed["action"] or None,
        subject=typed["subject"] or None,
        actor=typed["actor"] or None,
        since_ms=_day_ms(typed["since"]),
        # The whole of that day.
        until_ms=None if until_ms is None else until_ms + DAY_MS,
    )


def _day_ms(text: str) -> int | None:
    """Read a day in UTC; None for whatever is none."""
    try:
        day = dt.date.fromisoformat(text)
    except ValueError:
        return None
    return (day - dt.date(1970, 1, 1)).days * DAY_MS


def _names(tx: Connection, visitor: Visitor) -> dict[str, str]:
    """Say who the people among the actors are: those of the account, and of the subuser that is looked at."""
    tenants = {visitor.for_whom.id, visitor.for_whom.account_id} if visitor.acts_for_another else {visitor.owner_id}
    people: dict[str, Any] = {}
    for tenant in sorted(tenants):
        people |= {f"user:{one.id}": one.username for one in users.users_of(tx, tenant)}
    return people
