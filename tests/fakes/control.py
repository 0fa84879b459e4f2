"""A real control database, and short words for what stands in it."""

from __future__ import annotations

import sqlalchemy as sa

import sekisho.factors.tables
import sekisho.letters.tables
import sekisho.links.tables
import sekisho.oidc.tables
import sekisho.sessions.tables
import sekisho.signup.tables
import sekisho.teammates.tables
import sekisho.users.tables  # noqa: F401  # every table is made, whoever asks
from sekisho.accounts import Account, create_account, create_subuser
from sekisho.apikeys.actions import Issued, Wish, issue
from sekisho.audit import By, audit
from sekisho.changes import Change, ChangeKind, feed
from sekisho.db import Database, control
from sekisho.domains import Domain, Relay
from sekisho.domains.actions import NewKeys, add, make_keys
from sekisho.domains.verify import Finding, Sight
from sekisho.identity import KeyPolicy
from sekisho.refusal import Declined
from sekisho.sealing import MasterKey, Sealer
from sekisho.secret import Secret

NOW_MS = 1_795_500_000_000
BY = By("operator:test", NOW_MS)
NO_LIMITS = KeyPolicy()
RELAY = Relay("relay.example.net")
SEALER = Sealer([MasterKey(b"test", Secret(b"m" * 32))])

_keys: list[NewKeys] = []


def make_tables(database: Database) -> Database:
    with database.begin() as tx:
        control.create_all(tx)
    return database


def an_account(tx: sa.Connection, name: str = "acme") -> Account:
    made = create_account(tx, name=name, owner_email="owner@example.com", by=BY)
    assert not isinstance(made, Declined), made
    return made


def a_subuser(tx: sa.Connection, of: Account, name: str = "shop") -> Account:
    made = create_subuser(tx, of=of.name, name=name, by=BY)
    assert not isinstance(made, Declined), made
    return made


def a_key(
    tx: sa.Connection, owner: Account, policy: KeyPolicy = NO_LIMITS, scopes: frozenset[str] | None = None
) -> Issued:
    made = issue(tx, owner, Wish("a key", policy, scopes), by=BY)
    assert not isinstance(made, Declined), made
    return made


def a_domain(tx: sa.Connection, owner: Account, name: str = "example.com") -> Domain:
    # RSA keys take a while to make; which ones they are matters to no test of claims.
    if not _keys:
        _keys.append(make_keys())
    made = add(tx, owner, name, _keys[0], relay=RELAY, sealer=SEALER, by=BY)
    assert not isinstance(made, Declined), made
    return made


def sights(claim: Domain, *, but: dict[str, Sight] | None = None) -> tuple[Finding, ...]:
    """All records of a claim as DNS shows them: right, but for those named."""
    other = but or {}
    return tuple(Finding(record, other.get(record.name.value, Sight.VALID), (), None) for record in claim.records)


def changes_in(database: Database) -> list[Change]:
    with database.connect() as tx:
        rows = tx.execute(sa.select(feed).order_by(feed.c.position)).all()
    return [Change(row.position, ChangeKind(row.kind), row.account_id, row.subject) for row in rows]


def audited(database: Database) -> list[tuple[str, str]]:
    """(action, subject) of every audit row, oldest first."""
    with database.connect() as tx:
        return [(row.action, row.subject) for row in tx.execute(sa.select(audit).order_by(audit.c.id))]
