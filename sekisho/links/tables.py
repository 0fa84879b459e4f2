"""One-time links as stored."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, String, Table

from sekisho.db import ROW_ID, control

link = Table(
    "link",
    control,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    # SHA-256 of the token in the link.
    Column("digest", LargeBinary(32), nullable=False),
    # model.Purpose.
    Column("purpose", String(10), nullable=False),
    # The address that the link was sent to, and that whoever has it is taken to own; NULL: handed over otherwise.
    Column("email", String(254), nullable=True),
    # What it is about, by purpose.
    Column("user_id", ForeignKey("user.id"), nullable=True),
    Column("account_id", ForeignKey("account.id"), nullable=True),
    Column("invitation_id", ForeignKey("invitation.id"), nullable=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    # NULL: not used yet.
    Column("used_ms", BigInteger, nullable=True),
    sqlite_autoincrement=True,
)

Index("link_digest_once", link.c.digest, unique=True)
Index("link_user", link.c.user_id)
Index("link_account", link.c.account_id)
Index("link_invitation", link.c.invitation_id)
Index("link_expires", link.c.expires_ms)
