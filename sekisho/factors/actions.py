"""The only writers of second factors. What uses one up is one statement, so that of two who try one is told no.

How often somebody may try is ``users.pace``'s: asked before, in the same transaction.
"""

from __future__ import annotations

from typing import Final

import structlog
from sqlalchemy import Connection, and_, delete, insert, select, update

from sekisho import audit, letters, users
from sekisho.audit import By
from sekisho.factors import recovery, totp
from sekisho.factors.passkeys import Made, NotProved, RelyingParty, check_made, check_shown, shown
from sekisho.factors.reading import SEALED_FOR, Passkey, enrolled, opened, pending_totp, read_passkey, totp_since
from sekisho.factors.tables import passkey, recovery_code, totp_pending
from sekisho.factors.tables import totp as totp_table
from sekisho.ids import UserId
from sekisho.refusal import Declined, Obstacle
from sekisho.sealing import Sealer
from sekisho.secret import Secret
from sekisho.users import User

_log = structlog.get_logger(__name__)

PASSKEYS_MAX: Final = 20
"""Per person: a device for every room, and no list to get lost in."""

NAME_MAX: Final = 64
"""Characters of a passkey's name."""

_DEFAULT_LANGUAGE: Final = "en"


# Authenticator apps.


def begin_totp(tx: Connection, user_id: UserId, *, sealer: Sealer, at_ms: int) -> None:
    """Make a secret that is a factor once a code of it is given (``confirm_totp``); one begun before is forgotten."""
    sealed = sealer.seal(Secret(totp.new_secret().reveal().encode()), purpose=SEALED_FOR, row=str(user_id))
    tx.execute(delete(totp_pending).where(totp_pending.c.user_id == user_id))
    tx.execute(insert(totp_pending).values(user_id=user_id, sealed=sealed, created_ms=at_ms))


def confirm_totp(tx: Connection, who: User, code: str, *, sealer: Sealer, by: By) -> Declined | None:
    """Make the secret that was begun a factor, in the place of an older one; the code that does it is used up."""
    secret = pending_totp(tx, who.id, sealer=sealer, now_ms=by.at_ms)
    if secret is None:
        return Declined(Obstacle.FACTOR_NOT_PENDING, "this was begun too long ago, or not at all: begin again")
    step = totp.matching_step(secret, code, now_ms=by.at_ms)
    if step is None:
        return Declined(Obstacle.FACTOR_WRONG, "this is not the code that the app shows now")
    before = totp_since(tx, who.id)
    sealed = select(totp_pending.c.sealed).where(totp_pending.c.user_id == who.id).scalar_subquery()
    tx.execute(delete(totp_table).where(totp_table.c.user_id == who.id))
    tx.execute(
        insert(totp_table).values(user_id=who.id, sealed=sealed, confirmed_ms=by.at_ms, last_step=step),
    )
    tx.execute(delete(totp_pending).where(totp_pending.c.user_id == who.id))
    details: dict[str, audit.Detail] = {"kind": "totp", "replaces": before is not None}
    audit.record(tx, by=by, action="factor.add", account_id=who.tenant_id, subject=who.username, details=details)
    _tell(tx, who, "totp_added", by)
    return None


def use_totp(tx: Connection, user_id: UserId, code: str, *, sealer: Sealer, now_ms: int) -> Declined | None:
    """Take a code as proof, once: no code of its time step, or of one before it, is good any more."""
    sealed = tx.execute(select(totp_table.c.sealed).where(totp_table.c.user_id == user_id)).scalar()
    step = None if sealed is None else totp.matching_step(opened(sealed, user_id, sealer), code, now_ms=now_ms)
    if step is None:
        return Declined(Obstacle.FACTOR_WRONG, "this is not the code that the app shows now")
    unused = (totp_table.c.user_id == user_id) & (totp_table.c.last_step < step)
    if not tx.execute(update(totp_table).where(unused).values(last_step=step)).rowcount:
        return Declined(Obstacle.FACTOR_USED, "this code was used already: wait for the next one")
    return None


def remove_totp(tx: Connection, who: User, *, by: By) -> Declined | None:
    """Have an authenticator app no longer be a factor."""
    here = enrolled(tx, who.id)
    if not here.totp:
        return Declined(Obstacle.FACTOR_UNKNOWN, "there is no authenticator app to remove")
    if here.is_last:
        return _last()
    tx.execute(delete(totp_table).where(totp_table.c.user_id == who.id))
    _leave_word(tx, who, "factor.remove", "totp", by)
    _tell(tx, who, "totp_removed", by)
    return None


# Passkeys.


def add_passkey(
    tx: Connection, who: User, name: str, answer: str, *, rp: RelyingParty, challenge: bytes, by: By
) -> Passkey | Declined:
    """Make what a browser has made in answer to ``challenge`` a factor; the challenge is the caller's to use up."""
    label = name.strip()
    if not 1 <= len(label) <= NAME_MAX or not label.isprintable():
        return Declined(Obstacle.FACTOR_MALFORMED, f"a passkey's name has 1 to {NAME_MAX} characters, on one line")
    try:
        made = check_made(answer, rp=rp, challenge=challenge)
    except NotProved as fault:
        return _not_proved(fault, who.id)
    taken = select(passkey.c.id).where(passkey.c.credential_id == made.credential_id)
    if tx.execute(taken).first() is not None:
        return Declined(Obstacle.FACTOR_TAKEN, "this passkey is here already")
    if enrolled(tx, who.id).passkeys >= PASSKEYS_MAX:
        return Declined(Obstacle.FACTORS_TOO_MANY, f"nobody has more than {PASSKEYS_MAX} passkeys: remove one first")
    row = tx.execute(insert(passkey).values(_values(who.id, label, made, by.at_ms)).returning(passkey)).one()
    _leave_word(tx, who, "factor.add", "passkey", by, name=label)
    _tell(tx, who, "passkey_added", by)
    return read_passkey(row)


def use_passkey(
    tx: Connection, answer: str, *, rp: RelyingParty, challenge: bytes, user_id: UserId | None, by: By
) -> Passkey | Declined:
    """Take a passkey's answer to ``challenge`` as proof; the challenge is the caller's to use up, whatever comes of it.

    ``user_id`` is who has said a password before. None: nobody has; whose passkey it is tells who it is, and the
    authenticator must have verified him.
    """
    try:
        claim = shown(answer)
        row = tx.execute(select(passkey).where(passkey.c.credential_id == claim.credential_id)).one_or_none()
        # Also when it is somebody else's; the answer is the same as to one that proves nothing.
        if row is None or row.user_id != (user_id or row.user_id) or claim.user_id not in {None, row.user_id}:
            return _not_proved(NotProved("unknown passkey"), user_id)
        alone = user_id is None
        proved = check_shown(answer, rp=rp, challenge=challenge, public_key=row.public_key, alone=alone)
    except NotProved as fault:
        return _not_proved(fault, user_id)
    # WebAuthn §7.2 step 22: an authenticator that counts counts up, and one that does not says 0 for ever.
    counted = passkey.c.sign_count
    grows = counted < proved.sign_count if proved.sign_count else counted == 0
    values = {"sign_count": proved.sign_count, "backed_up": proved.backed_up, "used_ms": by.at_ms}
    used = update(passkey).where(passkey.c.id == row.id, grows).values(values).returning(passkey)
    after = tx.execute(used).one_or_none()
    if after is None:
        whose = users.user_by_id(tx, UserId(row.user_id))
        if whose is not None:
            _leave_word(tx, whose, "factor.copied", "passkey", by, name=row.name)
        return Declined(Obstacle.FACTOR_USED, "this passkey has counted backwards: there may be a copy of it")
    return read_passkey(after)


def remove_passkey(tx: Connection, who: User, passkey_id: int, *, by: By) -> Declined | None:
    """Have one passkey no longer be a factor; somebody else's is unknown."""
    mine = (passkey.c.user_id == who.id) & (passkey.c.id == passkey_id)
    name = tx.execute(select(passkey.c.name).where(mine)).scalar()
    if name is None:
        return Declined(Obstacle.FACTOR_UNKNOWN, "there is no such passkey")
    if enrolled(tx, who.id).is_last:
        return _last()
    tx.execute(delete(passkey).where(mine))
    _leave_word(tx, who, "factor.remove", "passkey", by, name=name)
    _tell(tx, who, "passkey_removed", by)
    return None


# Recovery codes.


def renew_recovery(tx: Connection, who: User, *, by: By) -> tuple[Secret[str], ...]:
    """Make a full set of recovery codes, to be shown once; all older ones are no longer good."""
    replaced = tx.execute(delete(recovery_code).where(recovery_code.c.user_id == who.id)).rowcount
    codes = recovery.make_codes()
    rows = [{"user_id": who.id, "digest": recovery.digest(code.reveal()), "used_ms": None} for code in codes]
    tx.execute(insert(recovery_code), rows)
    audit.record(tx, by=by, action="recovery.renew", account_id=who.tenant_id, subject=who.username)
    # The first ones come with the first factor, of which the same letter would tell.
    if replaced:
        _tell(tx, who, "recovery_new", by)
    return codes


def use_recovery(tx: Connection, who: User, code: str, *, by: By) -> int | Declined:
    """Take a recovery code as proof, once; how many are left."""
    digested = recovery.digest(code)
    unused = and_(
        recovery_code.c.user_id == who.id, recovery_code.c.digest == digested, recovery_code.c.used_ms.is_(None)
    )
    if digested is None or not tx.execute(update(recovery_code).where(unused).values(used_ms=by.at_ms)).rowcount:
        return Declined(Obstacle.FACTOR_WRONG, "this is none of your recovery codes that are left")
    left = enrolled(tx, who.id).recovery_left
    details: dict[str, audit.Detail] = {"left": left}
    audit.record(tx, by=by, action="recovery.use", account_id=who.tenant_id, subject=who.username, details=details)
    _tell(tx, who, "recovery_used", by)
    return left


# All of them.


def reset(tx: Connection, who: User, *, by: By) -> None:
    """Take all second factors from somebody who has lost them: whoever knows the password enrols the next one.

    An operator's last resort. Sessions of this person are the caller's to end.
    """
    here = enrolled(tx, who.id)
    erase(tx, who.id)
    details: dict[str, audit.Detail] = {"totp": here.totp, "passkeys": here.passkeys}
    audit.record(tx, by=by, action="factor.reset", account_id=who.tenant_id, subject=who.username, details=details)
    _tell(tx, who, "reset", by)


def erase(tx: Connection, user_id: UserId) -> None:
    """Forget the factors of a person who goes, whose own removal is audited."""
    for table in (totp_table, totp_pending, passkey, recovery_code):
        tx.execute(delete(table).where(table.c.user_id == user_id))


# The steps.


def _values(user_id: UserId, name: str, made: Made, at_ms: int) -> dict[str, object]:
    return {
        "user_id": user_id,
        "credential_id": made.credential_id,
        "public_key": made.public_key,
        "sign_count": made.sign_count,
        "name": name,
        "backed_up": made.backed_up,
        "transports": ",".join(made.transports),
        "created_ms": at_ms,
    }


def _not_proved(fault: NotProved, user_id: UserId | None) -> Declined:
    # What is wrong with an answer helps the operator of a server behind another name; to others it tells nothing.
    _log.info("passkey.refused", user=user_id, reason=str(fault))
    return Declined(Obstacle.FACTOR_WRONG, "the browser's answer proves nothing: try again")


def _last() -> Declined:
    return Declined(Obstacle.FACTOR_LAST, "this is your only second factor: add another one before you remove it")


def _leave_word(tx: Connection, who: User, action: str, kind: str, by: By, *, name: str | None = None) -> None:
    details: dict[str, audit.Detail] = {"kind": kind} if name is None else {"kind": kind, "name": name}
    audit.record(tx, by=by, action=action, account_id=who.tenant_id, subject=who.username, details=details)


def _tell(tx: Connection, who: User, what: str, by: By) -> None:
    """Write to the person; to a proved address only: whoever it was made for may not be its owner."""
    if who.login_email is None:
        return
    about = {"what": what, "address": by.address or ""}
    language = who.language or _DEFAULT_LANGUAGE
    letters.ask(
        tx, letters.Kind.FACTORS_CHANGED, who.email, at_ms=by.at_ms, language=language, user_id=who.id, about=about
    )
