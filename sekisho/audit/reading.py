"""What stands in the log: for its owner, for the operator, for whoever verifies it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, select

from sekisho.audit.chain import Head, Link, Personal
from sekisho.audit.log import Detail, audit, audit_chain

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as people read it."""

    chain: int
    seq: int
    at_ms: int
    actor: str | None
    """None: erased."""
    address: str | None
    action: str
    subject: str
    details: Mapping[str, Detail]
    hash: bytes


@dataclass(frozen=True, slots=True)
class Search:
    """Which entries; None: whatever it is."""

    action: str | None = None
    """Exactly this one; with a full stop at its end, all that begin so."""
    subject: str | None = None
    """Exactly this one: the id of a key, a name. E-mail addresses stand in the personal part, and are not found."""
    actor: str | None = None
    """Exactly this one: ``user:7``, ``key:…``."""
    since_ms: int | None = None
    until_ms: int | None = None
    """Not itself."""


EVERYTHING: Final = Search()


def entries(
    tx: Connection, chain: int | None, *, limit: int, before: int | None = None, search: Search = EVERYTHING
) -> Sequence[Entry]:
    """Read the newest entries of a chain (None: of all), newest first; ``before`` is a seq (of all: not allowed)."""
    query = select(audit).where(*_conditions(search)).limit(limit)
    if chain is None:
        query = query.order_by(audit.c.id.desc())
    else:
        query = query.where(audit.c.chain == chain).order_by(audit.c.seq.desc())
        if before is not None:
            query = query.where(audit.c.seq < before)
    return [_entry(row) for row in tx.execute(query)]


def _conditions(search: Search) -> Iterator[ColumnElement[bool]]:
    column, action = audit.c, search.action
    if action is not None:
        yield column.action.startswith(action, autoescape=True) if action.endswith(".") else column.action == action
    if search.subject is not None:
        yield column.subject == search.subject
    if search.actor is not None:
        yield column.actor == search.actor
    if search.since_ms is not None:
        yield column.at_ms >= search.since_ms
    if search.until_ms is not None:
        yield column.at_ms < search.until_ms


def links(tx: Connection, chain: int) -> Iterator[Link]:
    """Read a whole chain in order, some thousand rows at a time."""
    after = 0
    while batch := links_after(tx, chain, after, _BATCH):
        yield from batch
        after = batch[-1].seq


def links_after(tx: Connection, chain: int, after: int, limit: int) -> Sequence[Link]:
    """Read the next entries behind a seq, in order."""
    query = select(audit).where(audit.c.chain == chain, audit.c.seq > after).order_by(audit.c.seq).limit(limit)
    return [_link(row) for row in tx.execute(query)]


def heads(tx: Connection) -> Sequence[Head]:
    """Read the present head of every chain."""
    query = select(audit_chain).order_by(audit_chain.c.chain)
    return [Head(row.chain, row.seq, row.hash) for row in tx.execute(query)]


def as_entry(link: Link) -> Entry:
    """Show a link as people read it."""
    extra = {} if link.personal is None or link.personal.extra is None else _decode(link.personal.extra)
    subject = extra.pop("subject", None)
    return Entry(
        chain=link.chain,
        seq=link.seq,
        at_ms=link.at_ms,
        actor=None if link.personal is None else link.personal.actor,
        address=None if link.personal is None else link.personal.address,
        action=link.action,
        subject=subject if isinstance(subject, str) else link.subject,
        details={**_decode(link.details), **extra},
        hash=link.hash,
    )


def _entry(row: Row[Any]) -> Entry:
    return as_entry(_link(row))


def _link(row: Row[Any]) -> Link:
    # An entry without an actor and with a salt is no erased one: its part is verified, and found to be changed.
    personal = None if row.salt is None else Personal(row.actor or "", row.address, row.personal)
    return Link(
        chain=row.chain,
        seq=row.seq,
        at_ms=row.at_ms,
        action=row.action,
        subject=row.subject,
        details=row.details,
        commitment=row.commitment,
        hash=row.hash,
        salt=row.salt,
        personal=personal,
    )


def _decode(text: str) -> dict[str, Detail]:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        found = None
    # Somebody wrote over it: that is for ``verify`` to say, and no reason not to show the rest.
    return found if isinstance(found, dict) else {"unreadable": text}
