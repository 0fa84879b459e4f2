"""Claims of domains read for people, with their records as the present configuration wants them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, select

from sekisho.domains.model import KEY_RECORDS, Domain, Record, RecordName, Relay, key_host
from sekisho.domains.tables import domain, domain_assignment, domain_key, domain_record
from sekisho.ids import AccountId, DomainId
from sekisho.ports.dns import ascii_name
from sekisho.refusal import Declined, Obstacle


def find_claim(tx: Connection, text: str, account_id: AccountId | None, relay: Relay) -> Domain | Declined:
    """Find the one claim of a name: of that account, or of whoever has the only one."""
    name = ascii_name(text)
    query = select(domain).where(domain.c.name == name)
    if account_id is not None:
        query = query.where(domain.c.account_id == account_id)
    rows = tx.execute(query.limit(2)).all() if name is not None else ()
    if not rows:
        return Declined(Obstacle.DOMAIN_UNKNOWN, f"{text!r} was not added" + (" to that account" if account_id else ""))
    if len(rows) > 1:
        return Declined(Obstacle.DOMAIN_AMBIGUOUS, f"several accounts claim {name}: say which with --account")
    return _read(tx, rows, relay)[0]


def read_claim(tx: Connection, domain_id: DomainId, relay: Relay) -> Domain | None:
    """Read one claim again; None when it was removed."""
    rows = tx.execute(select(domain).where(domain.c.id == domain_id)).all()
    return _read(tx, rows, relay)[0] if rows else None


def list_claims(tx: Connection, relay: Relay, account_id: AccountId | None = None) -> tuple[Domain, ...]:
    """List the claims of one account and its subusers, or all there are, by name."""
    query = select(domain).order_by(domain.c.name, domain.c.id)
    if account_id is not None:
        query = query.where(domain.c.account_id == account_id)
    return _read(tx, tx.execute(query).all(), relay)


def assigned_to(tx: Connection, domain_id: DomainId) -> tuple[AccountId, ...]:
    """List the subusers that may borrow a domain."""
    query = select(domain_assignment.c.subuser_id).where(domain_assignment.c.domain_id == domain_id)
    return tuple(tx.execute(query.order_by(domain_assignment.c.assigned_ms)).scalars())


_ROWS_PER_QUERY = 500


def _read(tx: Connection, rows: Iterable[Row[Any]], relay: Relay) -> tuple[Domain, ...]:
    claims = list(rows)
    selectors: dict[tuple[int, str], str] = {}
    said: dict[tuple[int, str], tuple[str, bool]] = {}
    for start in range(0, len(claims), _ROWS_PER_QUERY):
        ids = [row.id for row in claims[start : start + _ROWS_PER_QUERY]]
        keys = select(domain_key.c.domain_id, domain_key.c.record, domain_key.c.selector)
        for row in tx.execute(keys.where(domain_key.c.domain_id.in_(ids))):
            selectors[row.domain_id, row.record] = row.selector
        for row in tx.execute(select(domain_record).where(domain_record.c.domain_id.in_(ids))):
            said[row.domain_id, row.record] = (row.data, row.seen)
    return tuple(_from_rows(row, selectors, said, relay) for row in claims)


def _from_rows(
    row: Row[Any], selectors: dict[tuple[int, str], str], said: dict[tuple[int, str], tuple[str, bool]], relay: Relay
) -> Domain:
    records = [
        Record(key.name, key_host(selectors[row.id, key.name], row.name), "txt", *said[row.id, key.name])
        for key in KEY_RECORDS
    ]
    for name, kind in ((RecordName.MAIL_SERVER, "mx"), (RecordName.SUBDOMAIN_SPF, "txt")):
        # The configuration decides what these must say; that something else was seen once counts for nothing.
        wanted = relay.data(name)
        data, seen = said[row.id, name]
        records.append(Record(name, row.return_path, kind, wanted, seen and data == wanted))
    return Domain(
        id=row.id,
        account_id=row.account_id,
        subuser_id=row.subuser_id,
        name=row.name,
        return_path=row.return_path,
        valid=row.valid,
        overridden=row.overridden,
        created_ms=row.created_ms,
        checked_ms=row.checked_ms,
        records=tuple(records),
    )
