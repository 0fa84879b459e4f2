"""Sessions of people as stored."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, String, Table, Text

from sekisho.db import ROW_ID, control

session = Table(
    "session",
    control,
    # Names the session where its owner lists and ends it; says nothing about the token.
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    # SHA-256 of the cookie's token, which is new at login, second factor and step-up.
    Column("digest", LargeBinary(32), nullable=False),
    # NULL: a visitor in the middle of a log-in that begins without a password.
    Column("user_id", ForeignKey("user.id"), nullable=True),
    # model.Stage: how far the log-in has come.
    Column("stage", String(10), nullable=False),
    # The subuser that a person of the parent account acts for; NULL: the tenant the person belongs to.
    Column("acting_for", ForeignKey("account.id"), nullable=True),
    # By what the second factor was shown: totp, passkey, recovery, oidc; empty before.
    Column("method", String(10), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    # The absolute end, whatever is done until then.
    Column("expires_ms", BigInteger, nullable=False),
    # The last time the second factor was shown; NULL: never.
    Column("stepped_up_ms", BigInteger, nullable=True),
    Column("address", String(45), nullable=False),
    Column("user_agent", String(200), nullable=False),
    # JSON of what a dialogue in several steps must remember (a WebAuthn challenge, an OpenID state); NULL: none.
    Column("scratch", Text, nullable=True),
    sqlite_autoincrement=True,
)

Index("session_digest_once", session.c.digest, unique=True)
Index("session_user", session.c.user_id)
Index("session_expires", session.c.expires_ms)
