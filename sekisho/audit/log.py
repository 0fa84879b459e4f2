"""The one writer of the audit log: one row per change, in the change's own transaction."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from sqlalchemy import BigInteger, Column, Connection, Index, LargeBinary, String, Table, Text, insert, select, update

from sekisho.audit.chain import GENESIS, Link, Personal, commit, hash_of
from sekisho.db import ROW_ID, control

OPERATOR: Final = 0
"""The chain of what concerns no account."""

audit = Table(
    "audit_entry",
    control,
    # Never reused (AUTOINCREMENT).
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    # Whose log: the account or subuser concerned, 0 for the operator's own. No foreign key, the row outlives it.
    Column("chain", BigInteger, nullable=False),
    # 1, 2, 3 … within the chain.
    Column("seq", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    # "key.revoke": subject.action.
    Column("action", String(60), nullable=False),
    # The thing itself: a key id, a domain, a name; empty when it is an e-mail address, which is personal.
    Column("subject", String(255), nullable=False),
    # JSON object; never a secret.
    Column("details", Text, nullable=False),
    # What can be erased, NULL then: "operator:<unix user>", "key:<id>" …
    Column("actor", String(200), nullable=True),
    # … the client's address, NULL also when it was done at the machine itself …
    Column("address", String(45), nullable=True),
    # … a JSON object of details that have an e-mail address in them …
    Column("personal", Text, nullable=True),
    # … and what the digest of these is keyed with.
    Column("salt", LargeBinary(16), nullable=True),
    Column("commitment", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    sqlite_autoincrement=True,
)

Index("audit_chain_seq", audit.c.chain, audit.c.seq, unique=True)

audit_chain = Table(
    "audit_chain",
    control,
    Column("chain", BigInteger, primary_key=True, autoincrement=False),
    # Of its last entry.
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
)

_SALT_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class By:
    """Who does it, when, and from where: what every change is told by its caller."""

    actor: str
    at_ms: int
    address: str | None = None
    """The client's; None at the machine itself."""


Detail = str | int | bool | None | Sequence[str]


def record(
    tx: Connection,
    *,
    by: By,
    action: str,
    account_id: int | None,
    subject: str,
    details: Mapping[str, Detail] | None = None,
) -> None:
    """Write the row; commits and vanishes together with the change that it tells of.

    ``account_id`` is the account or subuser concerned, None for what concerns none. Whatever has an e-mail address in
    it is kept with the personal part, which can be erased.
    """
    chain = OPERATOR if account_id is None else account_id
    plain = {name: value for name, value in (details or {}).items() if not _is_personal(value)}
    private = {name: value for name, value in (details or {}).items() if name not in plain}
    if _is_personal(subject):
        private, subject = {**private, "subject": subject}, ""
    personal = Personal(by.actor, by.address, _text(private) if private else None)
    salt = secrets.token_bytes(_SALT_BYTES)
    # The one turn for writers is ours: nobody else can append behind the same head.
    head = tx.execute(select(audit_chain.c.seq, audit_chain.c.hash).where(audit_chain.c.chain == chain)).one_or_none()
    link = Link(
        chain=chain,
        seq=1 if head is None else head.seq + 1,
        at_ms=by.at_ms,
        action=action,
        subject=subject,
        details=_text(plain),
        commitment=commit(salt, personal),
        hash=b"",
        salt=salt,
        personal=personal,
    )
    hashed = hash_of(GENESIS if head is None else head.hash, link)
    tx.execute(
        insert(audit).values(
            chain=chain,
            seq=link.seq,
            at_ms=link.at_ms,
            action=action,
            subject=subject,
            details=link.details,
            actor=personal.actor,
            address=personal.address,
            personal=personal.extra,
            salt=salt,
            commitment=link.commitment,
            hash=hashed,
        )
    )
    if head is None:
        tx.execute(insert(audit_chain).values(chain=chain, seq=link.seq, hash=hashed))
    else:
        tx.execute(update(audit_chain).where(audit_chain.c.chain == chain).values(seq=link.seq, hash=hashed))


def erase(tx: Connection, account_id: int) -> int:
    """Erase the personal part of everything in a log; how many entries had one.

    The chain stays valid; the entry that tells of it (``chain.ERASURE``) is the caller's to write, behind.
    """
    nothing = {"actor": None, "address": None, "personal": None, "salt": None}
    erased = tx.execute(update(audit).where(audit.c.chain == account_id, audit.c.salt.is_not(None)).values(nothing))
    return erased.rowcount


def _is_personal(value: Detail) -> bool:
    match value:
        case str():
            return "@" in value
        case bool() | int() | None:
            return False
        case _:
            return any("@" in one for one in value)


def _text(details: Mapping[str, Detail]) -> str:
    return msgspec.json.encode(dict(details), order="deterministic").decode()
