"""Which second factors somebody has, read from their tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from sekisho.factors.passkeys import Known
from sekisho.factors.tables import passkey, recovery_code, totp, totp_pending
from sekisho.ids import UserId
from sekisho.sealing import Sealer
from sekisho.secret import Secret

PENDING_MS: Final = 600_000
"""How long a secret waits for its first code: ten minutes. What was on a screen longer may have been seen by others."""

SEALED_FOR: Final = "totp secret"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The second factors of a person."""

    totp: bool
    passkeys: int
    recovery_left: int
    """Recovery codes are a way back to a factor, not one: nobody is enrolled by them alone."""

    @property
    def is_any(self) -> bool:
        return self.totp or self.passkeys > 0

    @property
    def is_last(self) -> bool:
        """Whether there is one only, which cannot be removed."""
        return self.totp + self.passkeys == 1


@dataclass(frozen=True, slots=True)
class Passkey:
    """A passkey as its owner sees it."""

    id: int
    user_id: UserId
    credential_id: bytes
    name: str
    backed_up: bool
    """Kept by its owner's provider too, and so on other devices."""
    transports: tuple[str, ...]
    created_ms: int
    used_ms: int | None

    @property
    def known(self) -> Known:
        return Known(self.credential_id, self.transports)


def enrolled(tx: Connection, user_id: UserId) -> Enrolled:
    left = select(func.count()).where(recovery_code.c.user_id == user_id, recovery_code.c.used_ms.is_(None))
    return Enrolled(
        totp_since(tx, user_id) is not None,
        tx.execute(select(func.count()).where(passkey.c.user_id == user_id)).scalar_one(),
        tx.execute(left).scalar_one(),
    )


def totp_since(tx: Connection, user_id: UserId) -> int | None:
    """Tell since when an authenticator app is a factor; None: none is."""
    return tx.execute(select(totp.c.confirmed_ms).where(totp.c.user_id == user_id)).scalar()


def passkeys_of(tx: Connection, user_id: UserId) -> tuple[Passkey, ...]:
    """List somebody's passkeys, the oldest first."""
    query = select(passkey).where(passkey.c.user_id == user_id).order_by(passkey.c.id)
    return tuple(read_passkey(row) for row in tx.execute(query))


def pending_totp(tx: Connection, user_id: UserId, *, sealer: Sealer, now_ms: int) -> Secret[str] | None:
    """Read the secret that waits for its first code; None when there is none, or it has waited too long."""
    row = tx.execute(select(totp_pending).where(totp_pending.c.user_id == user_id)).one_or_none()
    if row is None or not 0 <= now_ms - row.created_ms < PENDING_MS:
        return None
    return opened(row.sealed, user_id, sealer)


def opened(sealed: bytes, user_id: UserId, sealer: Sealer) -> Secret[str]:
    """Open a stored secret; raises SealBroken."""
    return Secret(sealer.open(sealed, purpose=SEALED_FOR, row=str(user_id)).reveal().decode())


def read_passkey(row: Row[Any]) -> Passkey:
    return Passkey(
        id=row.id,
        user_id=UserId(row.user_id),
        credential_id=row.credential_id,
        name=row.name,
        backed_up=row.backed_up,
        transports=tuple(row.transports.split(",")) if row.transports else (),
        created_ms=row.created_ms,
        used_ms=row.used_ms,
    )
