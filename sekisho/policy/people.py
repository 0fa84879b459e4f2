"""Changes to a person that reach further than his own row: sessions that end, links that are over, letters.

For both doors and the command line: whichever it comes through, the same happens.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection

from sekisho import audit, factors, letters, links, oidc, sessions, teammates, users
from sekisho.audit import By
from sekisho.links import Purpose
from sekisho.ports.clock import DAY_MS
from sekisho.refusal import Declined, Obstacle
from sekisho.users import User
from sekisho.wire.mail.address import parse_path

LANGUAGE: Final = "en"
"""Of letters to somebody who has chosen none, when nobody's browser is there to ask."""

EMAILS_A_DAY: Final = 10
"""Addresses that one person may ask to confirm: each is a letter to somebody who may know nothing of it."""


def change_password(tx: Connection, person: User, password: str, *, kept_session: int | None = None, by: By) -> User:
    """Let a person log in by another password, which ``users.hash_password`` made.

    All that the old one opened ends: sessions but ``kept_session``, and links to choose a new one.
    """
    after = users.set_password(tx, person, password, by=by)
    sessions.end_of(tx, person.id, but=kept_session)
    links.end(tx, Purpose.RESET, at_ms=by.at_ms, user_id=person.id)
    _tell(tx, person, letters.Kind.PASSWORD_CHANGED, by)
    return after


def ask_for_email(tx: Connection, person: User, email: str, *, language: str | None = None, by: By) -> Declined | None:
    """Write to an address that a person wants to have; it is his once he follows the link (``prove_email``).

    The answer is the same whoever has it already.
    """
    address = parse_path(email)
    if address is None or address.domain.startswith("["):
        return Declined(Obstacle.EMAIL_MALFORMED, f"{email!r} is not an e-mail address")
    lately = letters.count(tx, letters.Kind.EMAIL_CONFIRM, user_id=person.id, since_ms=by.at_ms - DAY_MS)
    if lately >= EMAILS_A_DAY:
        text = f"{EMAILS_A_DAY} addresses were to be confirmed within a day: more of them tomorrow"
        return Declined(Obstacle.EMAIL_TOO_OFTEN, text)
    # What was asked for before is over, whether or not its letter has left.
    links.end(tx, Purpose.EMAIL, at_ms=by.at_ms, user_id=person.id)
    spoken = person.language or language or LANGUAGE
    letters.ask(tx, letters.Kind.EMAIL_CONFIRM, email, at_ms=by.at_ms, language=spoken, user_id=person.id)
    _tell(tx, person, letters.Kind.EMAIL_ASKED, by, language=language, about={"new_email": email})
    details: dict[str, audit.Detail] = {"email": email}
    audit.record(
        tx, by=by, action="user.email_asked", account_id=person.tenant_id, subject=person.username, details=details
    )
    return None


def prove_email(tx: Connection, person: User, email: str, *, by: By) -> User | Declined:
    """Give a person the address that he has shown to be his; whoever reads the old one is told, and can reset nothing.

    Declined when somebody else was first.
    """
    after = users.prove_email(tx, person, email, by=by)
    if isinstance(after, Declined):
        return after
    links.end(tx, Purpose.RESET, at_ms=by.at_ms, user_id=person.id)
    if after.login_email != person.login_email:
        _tell(tx, person, letters.Kind.EMAIL_CHANGED, by, about={"new_email": email})
    return after


def reset_factors(tx: Connection, person: User, *, by: By) -> None:
    """Take all second factors away, for the operator: whoever knows the password enrols the next one."""
    factors.reset(tx, person, by=by)
    sessions.end_of(tx, person.id)


def remove(tx: Connection, person: User, *, by: By) -> None:
    """Let somebody in no more, and keep nothing of him. Keys that he made are their owner's, and another decision."""
    sessions.end_of(tx, person.id)
    factors.erase(tx, person.id)
    links.erase_user(tx, person.id)
    letters.erase_user(tx, person.id)
    teammates.forget(tx, person.id)
    oidc.erase_user(tx, person.id)
    users.remove(tx, person, by=by)


def _tell(
    tx: Connection,
    person: User,
    kind: letters.Kind,
    by: By,
    *,
    language: str | None = None,
    about: dict[str, str] | None = None,
) -> None:
    """Write to a person where he has shown that he reads it."""
    if person.login_email is None:
        return
    spoken = person.language or language or LANGUAGE
    told = {"address": by.address or "", **(about or {})}
    letters.ask(tx, kind, person.email, at_ms=by.at_ms, language=spoken, user_id=person.id, about=told)
