"""People as stored."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, false

from sekisho.db import ROW_ID, control

user = Table(
    "user",
    control,
    # Never reused: the audit log and keys name people by it.
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    # The account or subuser that this person logs in to.
    Column("account_id", ForeignKey("account.id"), nullable=False),
    # Where this person is written to. Confirmed or not: see login_email.
    Column("email", String(254), nullable=False),
    # Argon2id in PHC form: algorithm, costs, salt and digest in one text. Empty: cannot log in by password.
    Column("password", String(200), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # One name space on a server, as at the vendor; the second column is what is compared.
    Column("username", String(254), server_default="", nullable=False),
    Column("folded_username", String(254), server_default="", nullable=False),
    # The folded address as a name to log in with: only once its owner has shown that it is his, else NULL.
    Column("login_email", String(254), nullable=True),
    # model.Role.
    Column("role", String(10), server_default="owner", nullable=False),
    # A teammate's: JSON list of scope names. NULL: all there are (owners and admins).
    Column("scopes", Text, nullable=True),
    # A teammate's: only the subusers listed in subuser_access, and with what stands there.
    Column("restricted", Boolean, server_default=false(), nullable=False),
    # JSON object of the vendor's profile fields.
    Column("profile", Text, nullable=True),
    # Language of pages and letters; NULL: the browser's.
    Column("language", String(8), nullable=True),
    sqlite_autoincrement=True,
)

Index("user_account", user.c.account_id)
Index("user_username_once", user.c.folded_username, unique=True)
Index("user_login_email_once", user.c.login_email, unique=True)

user_address = Table(
    "user_address",
    control,
    # Networks (/24, /64) that a person has logged in from, both factors and all.
    Column("user_id", ForeignKey("user.id"), primary_key=True),
    Column("network", String(43), primary_key=True),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)

login_failure = Table(
    "login_failure",
    control,
    # What was tried too often: pace.Kind.
    Column("kind", String(20), primary_key=True),
    # Keyed digest (hex) of whose it is counted as: never the name that was typed, which may be a password.
    Column("subject", String(64), primary_key=True),
    # Number of the window since the epoch.
    Column("window", BigInteger, primary_key=True, autoincrement=False),
    Column("count", Integer, nullable=False),
)
