"""``/v3/audit_log``: the owner reads and exports the log of the account or subuser. Ours; the vendor has none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

import msgspec
from litestar import get
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream

from sekisho import audit
from sekisho.audit.chain import Link
from sekisho.audit.export import encode_line
from sekisho.audit.reading import links_after
from sekisho.doors.api.caller import Calling
from sekisho.doors.api.paging import read_before, read_page
from sekisho.doors.http.store import Store, Stored

_DEFAULT: Final = 50
_EXPORT_BATCH: Final = 500


class LoggedEntry(msgspec.Struct, frozen=True):
    """One entry. ``actor`` and ``address`` are null once they were erased; times are epoch seconds."""

    seq: int
    at: int
    action: str
    subject: str
    details: dict[str, str | int | bool | list[str] | None]
    actor: str | None
    address: str | None
    hash: str


class LoggedEntries(msgspec.Struct, frozen=True):
    """Newest first."""

    result: list[LoggedEntry]


@get("/v3/audit_log", summary="Read the audit log, newest entries first")
async def read(
    caller: Calling,
    store: Stored,
    limit: FromQuery[int | None] = None,
    before: Annotated[int | None, QueryParameter(description="Only entries with a smaller seq.")] = None,
    action: Annotated[
        str | None, QueryParameter(description="Only these: key.create, or key. for all about keys.")
    ] = None,
) -> LoggedEntries:
    page = read_page(limit, None, default=_DEFAULT)
    seen = read_before(before)
    found = await store.read(
        lambda tx: audit.entries(tx, caller.owner_id, limit=page.limit, before=seen, search=audit.Search(action))
    )
    return LoggedEntries([_shown(entry) for entry in found])


@get("/v3/audit_log/export", summary="Export the audit log in the form that `sekisho audit verify --file` reads")
async def export(caller: Calling, store: Stored) -> Stream:
    owner = caller.owner_id
    # The first rows before the status: a database that cannot be read is still a 503 here.
    first = await store.read(lambda tx: links_after(tx, owner, 0, _EXPORT_BATCH))
    return Stream(
        _lines(store, owner, first),
        media_type="application/x-ndjson",
        headers={"Content-Disposition": 'attachment; filename="audit-log.jsonl"'},
    )


async def _lines(store: Store, owner: int, first: Sequence[Link]) -> AsyncIterator[bytes]:
    batch = first
    while batch:
        yield b"".join(map(encode_line, batch))
        if len(batch) < _EXPORT_BATCH:
            return
        after = batch[-1].seq
        batch = await store.read(lambda tx, after=after: links_after(tx, owner, after, _EXPORT_BATCH))  # type: ignore[misc]


def _shown(entry: audit.Entry) -> LoggedEntry:
    return LoggedEntry(
        seq=entry.seq,
        at=entry.at_ms // 1000,
        action=entry.action,
        subject=entry.subject,
        details={
            name: value if isinstance(value, str | int | bool | None) else list(value)
            for name, value in entry.details.items()
        },
        actor=entry.actor,
        address=entry.address,
        hash=entry.hash.hex(),
    )


HANDLERS = (read, export)
