"""API keys as stored."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, String, Table, Text

from sekisho.db import control

api_key = Table(
    "api_key",
    control,
    # The 22-character middle part of the key's text.
    Column("id", String(22), primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    # Set: the pass is this subuser's, which belongs to account_id.
    Column("subuser_id", ForeignKey("account.id"), nullable=True),
    # The owner's own label; need not be unique.
    Column("name", String(200), nullable=False),
    # SHA-256 of the 69 ASCII characters. The text has full entropy, so nothing slower is needed.
    Column("digest", LargeBinary(32), nullable=False),
    # JSON list of scope names; NULL = full access, which means whatever that is when the key is used.
    Column("scopes", Text, nullable=True),
    # JSON object of the limits that are set (policy_text.py).
    Column("policy", Text, nullable=False),
    # The key came from another provider: its text was made, and seen, elsewhere.
    Column("imported", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # NULL: in force. Revoked rows stay, so that an id is never given out or imported twice.
    Column("revoked_ms", BigInteger, nullable=True),
    # Revoked because somebody else may have it: queued mail of this key is held.
    Column("compromised", Boolean, nullable=False),
)

Index("api_key_owner", api_key.c.account_id, api_key.c.subuser_id)
