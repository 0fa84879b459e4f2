"""Second factors as stored."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, LargeBinary, String, Table

from sekisho.db import ROW_ID, control

totp = Table(
    "totp",
    control,
    Column("user_id", ForeignKey("user.id"), primary_key=True),
    # The shared secret, sealed under the master key.
    Column("sealed", LargeBinary(200), nullable=False),
    Column("confirmed_ms", BigInteger, nullable=False),
    # The last time step that was used up: no code of it or an earlier one is good any more (RFC 6238 §5.2).
    Column("last_step", BigInteger, nullable=False),
)

totp_pending = Table(
    "totp_pending",
    control,
    # Shown as a QR code, not proved yet: no factor.
    Column("user_id", ForeignKey("user.id"), primary_key=True),
    Column("sealed", LargeBinary(200), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

passkey = Table(
    "passkey",
    control,
    Column("id", ROW_ID, primary_key=True, autoincrement=True),
    Column("user_id", ForeignKey("user.id"), nullable=False),
    # WebAuthn's credential id and COSE public key.
    Column("credential_id", LargeBinary(1023), nullable=False),
    Column("public_key", LargeBinary(2048), nullable=False),
    Column("sign_count", BigInteger, nullable=False),
    # The owner's own label.
    Column("name", String(64), nullable=False),
    Column("backed_up", Boolean, nullable=False),
    # Comma-separated, as the browser told them.
    Column("transports", String(100), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger, nullable=True),
    sqlite_autoincrement=True,
)

Index("passkey_user", passkey.c.user_id)
Index("passkey_credential_once", passkey.c.credential_id, unique=True)

recovery_code = Table(
    "recovery_code",
    control,
    Column("user_id", ForeignKey("user.id"), primary_key=True),
    # SHA-256; a code has 80 random bits, so nothing slower is needed.
    Column("digest", LargeBinary(32), primary_key=True),
    # NULL: can still be used.
    Column("used_ms", BigInteger, nullable=True),
)
