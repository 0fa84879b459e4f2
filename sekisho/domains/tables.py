"""Sender domains as stored: claims, their signing keys, what DNS must say, and who may borrow them."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from sekisho.db import ROW_ID, control

domain = Table(
    "domain",
    control,
    # Never reused (AUTOINCREMENT): audit rows name claims by this number, and sealed keys are bound to it.
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    # Set: the claim is this subuser's own; its parent does not send as it.
    Column("subuser_id", ForeignKey("account.id"), nullable=True),
    # Lower-case A-labels, no final dot.
    Column("name", String(253), nullable=False),
    # em1234.<name>: where bounces of this domain's mail go.
    Column("return_path", String(255), nullable=False),
    # May be sent as. A failed check takes it back; one that DNS gave no answer to changes nothing.
    Column("valid", Boolean, nullable=False),
    # Valid by the operator's word; says nothing about the return path.
    Column("overridden", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # NULL: never compared with DNS.
    Column("checked_ms", BigInteger, nullable=True),
    UniqueConstraint("account_id", "name", name="domain_claimed_once"),
    sqlite_autoincrement=True,
)

# The rule itself, held by the database: a domain is valid in at most one account.
Index(
    "domain_valid_once",
    domain.c.name,
    unique=True,
    sqlite_where=text("valid"),
    postgresql_where=text("valid"),
)
Index("domain_subuser", domain.c.subuser_id)

domain_key = Table(
    "domain_key",
    control,
    Column("domain_id", ForeignKey("domain.id", ondelete="CASCADE"), primary_key=True),
    # dkim1, dkim2, dkim_ed25519, dkim_ed25519_2: the record that publishes it.
    Column("record", String(20), primary_key=True),
    Column("selector", String(63), nullable=False),
    # rsa-sha256 or ed25519-sha256.
    Column("algorithm", String(20), nullable=False),
    # Signs now; the other of its algorithm stands by, already published, for the day this one must go.
    Column("active", Boolean, nullable=False),
    # The private key, sealed for this claim and record.
    Column("sealed", LargeBinary, nullable=False),
)

domain_record = Table(
    "domain_record",
    control,
    Column("domain_id", ForeignKey("domain.id", ondelete="CASCADE"), primary_key=True),
    Column("record", String(20), primary_key=True),
    # What DNS had to say when it was last compared (or would have had to, never compared).
    Column("data", Text, nullable=False),
    # It was seen so in DNS.
    Column("seen", Boolean, nullable=False),
)

domain_assignment = Table(
    "domain_assignment",
    control,
    Column("domain_id", ForeignKey("domain.id", ondelete="CASCADE"), primary_key=True),
    Column("subuser_id", ForeignKey("account.id"), primary_key=True),
    Column("assigned_ms", BigInteger, nullable=False),
)

Index("domain_assignment_subuser", domain_assignment.c.subuser_id)
