"""From a letter that was asked for to one that leaves: here is found out whom it concerns, and its link is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from sekisho import audit, links, users
from sekisho.accounts import Account, account_by_id
from sekisho.audit import By
from sekisho.languages import translator
from sekisho.letters.model import INVITATION_MS, Kind, Letter, Written
from sekisho.letters.texts import Facts, text_of
from sekisho.links import Purpose
from sekisho.users import User


@dataclass(frozen=True, slots=True)
class Place:
    """The server that writes."""

    host: str
    url: str
    """Without a slash at its end."""


def write(tx: Connection, letter: Letter, place: Place, *, now_ms: int) -> Written | None:
    """Write a letter, its link made anew; None when there is nobody whom it concerns (any more)."""
    match letter.kind:
        case Kind.SIGNUP:
            return _to_newcomer(tx, letter, place, links.LIFETIME_MS[Purpose.SIGNUP], now_ms)
        case Kind.SIGNUP_INVITED:
            return _to_newcomer(tx, letter, place, INVITATION_MS, now_ms)
        case Kind.RESET:
            return _reset(tx, letter, place, now_ms)
        case Kind.INVITE:
            token = links.make(
                tx, Purpose.INVITE, at_ms=now_ms, email=letter.to, invitation_id=letter.invitation_id
            ).reveal()
            facts = _facts(place, letter, link=f"{place.url}/invite/{token}")
            return _written(letter.to, letter.language, letter.kind, facts)
        case Kind.EMAIL_CONFIRM:
            return _email_confirm(tx, letter, place, now_ms)
        case Kind.LIMITS_LIFTED:
            account = _account(tx, letter)
            return None if account is None else _written(letter.to, letter.language, letter.kind, _facts(place, letter))
        case _:
            return _told(tx, letter, place)


def _to_newcomer(tx: Connection, letter: Letter, place: Place, lifetime_ms: int, now_ms: int) -> Written:
    known = users.by_login_email(tx, letter.to)
    if known is not None:
        # No link is made: whoever asks a second time would end the first one's.
        facts = _facts(place, letter, known=True)
        return _written(letter.to, known.language or letter.language, letter.kind, facts)
    token = links.make(tx, Purpose.SIGNUP, at_ms=now_ms, email=letter.to, lifetime_ms=lifetime_ms).reveal()
    return _written(letter.to, letter.language, letter.kind, _facts(place, letter, link=f"{place.url}/signup/{token}"))


def _reset(tx: Connection, letter: Letter, place: Place, now_ms: int) -> Written | None:
    person = users.find_user(tx, letter.to)
    # Only where somebody has shown that the address is his: another's typing error must open nothing.
    if person is None or person.login_email is None:
        return None
    token = links.make(tx, Purpose.RESET, at_ms=now_ms, email=person.email, user_id=person.id).reveal()
    by = By("visitor", now_ms, letter.about.get("address"))
    audit.record(tx, by=by, action="user.reset_asked", account_id=person.tenant_id, subject=person.username)
    facts = _facts(place, letter, link=f"{place.url}/reset/{token}", username=person.username)
    return _written(person.email, person.language or letter.language, letter.kind, facts)


def _email_confirm(tx: Connection, letter: Letter, place: Place, now_ms: int) -> Written | None:
    person = _person(tx, letter)
    if person is None:
        return None
    token = links.make(tx, Purpose.EMAIL, at_ms=now_ms, email=letter.to, user_id=person.id).reveal()
    facts = _facts(place, letter, link=f"{place.url}/email/{token}", username=person.username)
    return _written(letter.to, letter.language, letter.kind, facts)


def _told(tx: Connection, letter: Letter, place: Place) -> Written | None:
    person = _person(tx, letter)
    if person is None:
        return None
    return _written(letter.to, letter.language, letter.kind, _facts(place, letter, username=person.username))


def _person(tx: Connection, letter: Letter) -> User | None:
    return None if letter.user_id is None else users.user_by_id(tx, letter.user_id)


def _account(tx: Connection, letter: Letter) -> Account | None:
    return None if letter.account_id is None else account_by_id(tx, letter.account_id)


def _facts(place: Place, letter: Letter, *, link: str = "", known: bool = False, username: str = "") -> Facts:
    about: Mapping[str, str] = letter.about
    return Facts(
        host=place.host,
        url=place.url,
        link=link,
        known=known,
        account=about.get("account", ""),
        username=username,
        new_email=about.get("new_email", ""),
        who=about.get("who", ""),
        address=about.get("address", ""),
        what=about.get("what", ""),
        at_ms=letter.created_ms,
    )


def _written(to: str, language: str, kind: Kind, facts: Facts) -> Written:
    subject, text = text_of(kind, facts, translator(language))
    return Written(to, subject, text)
