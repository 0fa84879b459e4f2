from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from sekisho import letters, links, users
from sekisho.db import Database
from sekisho.ids import UserId
from sekisho.letters import Kind
from sekisho.letters.actions import claim
from sekisho.letters.model import Written
from sekisho.letters.writing import Place, write
from sekisho.links import Link, Purpose
from sekisho.refusal import Declined
from sekisho.users import User
from tests.fakes.control import BY, NOW_MS, an_account, audited

PLACE = Place("relay.test", "https://relay.test")


def a_person(tx: sa.Connection, *, proved: bool = True) -> User:
    account = an_account(tx)
    made = users.add(tx, account, username="ann", email="Ann@example.com", password="x", proved=proved, by=BY)
    assert not isinstance(made, Declined)
    return made


def written(control: Database, kind: Kind, to: str, user_id: UserId | None = None) -> Written | None:
    with control.begin() as tx:
        letters.ask(tx, kind, to, at_ms=NOW_MS, language="en", user_id=user_id, about={"address": "192.0.2.9"})
        (one,) = claim(tx, NOW_MS)
        return write(tx, one, PLACE, now_ms=NOW_MS)


def link_in(control: Database, found: Written | None, purpose: Purpose) -> Link | None:
    assert found is not None
    (line,) = [line for line in found.text.splitlines() if line.startswith(f"https://relay.test/{purpose.value}/")]
    with control.connect() as tx:
        return links.find(tx, purpose, line.rpartition("/")[2], now_ms=NOW_MS)


def test_a_newcomer_gets_a_link_that_proves_the_address(control: Database) -> None:
    found = written(control, Kind.SIGNUP, "new@example.com")
    link = link_in(control, found, Purpose.SIGNUP)
    assert link is not None
    assert (link.email, link.user_id, link.account_id) == ("new@example.com", None, None)


def test_who_has_an_account_is_told_and_no_link_is_made(control: Database) -> None:
    with control.begin() as tx:
        a_person(tx)
    found = written(control, Kind.SIGNUP, "ann@example.com")
    assert found is not None
    assert "already" in found.subject
    with control.connect() as tx:
        assert tx.execute(sa.text("SELECT count(*) FROM link")).scalar() == 0


@pytest.mark.parametrize("typed", ["ann@example.com", "ANN@EXAMPLE.COM", "ann", "Ann"])
def test_a_reset_goes_to_the_proved_address_whatever_was_typed(control: Database, typed: str) -> None:
    with control.begin() as tx:
        person = a_person(tx)
    found = written(control, Kind.RESET, typed)
    assert found is not None
    assert found.to == "Ann@example.com"
    link = link_in(control, found, Purpose.RESET)
    assert link is not None
    assert link.user_id == person.id
    assert "192.0.2.9" in found.text
    assert ("user.reset_asked", "ann") in audited(control)


def test_nobody_is_written_to_where_nobody_is_or_nothing_was_proved(control: Database) -> None:
    with control.begin() as tx:
        a_person(tx, proved=False)
    for typed in ("ann", "ann@example.com", "nobody@example.com", "nobody", ""):
        assert written(control, Kind.RESET, typed) is None
    with control.connect() as tx:
        assert tx.execute(sa.text("SELECT count(*) FROM link")).scalar() == 0


def test_a_new_address_gets_a_link_that_proves_it_for_that_person(control: Database) -> None:
    with control.begin() as tx:
        person = a_person(tx)
    found = written(control, Kind.EMAIL_CONFIRM, "new@example.com", person.id)
    assert found is not None
    assert found.to == "new@example.com"
    link = link_in(control, found, Purpose.EMAIL)
    assert link is not None
    assert (link.email, link.user_id) == ("new@example.com", person.id)


def test_people_are_told_in_their_own_language(control: Database) -> None:
    with control.begin() as tx:
        person = a_person(tx)
        tx.execute(users.user.update().values(language="ja"))
    reset = written(control, Kind.RESET, "ann")
    assert reset is not None
    assert not reset.subject.isascii()
    told = written(control, Kind.PASSWORD_CHANGED, person.email, person.id)
    assert told is not None
    assert told.subject.isascii()  # asked for in English: whoever asks knows the person


def test_what_concerns_nobody_any_more_is_not_written(control: Database) -> None:
    with control.begin() as tx:
        letters.ask(tx, Kind.EMAIL_CONFIRM, "x@example.com", at_ms=NOW_MS, language="en")
        letters.ask(tx, Kind.NEW_LOGIN, "x@example.com", at_ms=NOW_MS, language="en")
        letters.ask(tx, Kind.LIMITS_LIFTED, "x@example.com", at_ms=NOW_MS, language="en")
        assert [write(tx, one, PLACE, now_ms=NOW_MS) for one in claim(tx, NOW_MS)] == [None] * 3


def test_an_older_link_is_over_when_the_letter_is_written_again(control: Database) -> None:
    first = written(control, Kind.SIGNUP, "new@example.com")
    second = written(control, Kind.SIGNUP, "new@example.com")
    assert link_in(control, first, Purpose.SIGNUP) is None
    assert link_in(control, second, Purpose.SIGNUP) is not None


def test_a_letter_names_the_server_it_comes_from(control: Database) -> None:
    with control.begin() as tx:
        letters.ask(tx, Kind.SIGNUP, "new@example.com", at_ms=NOW_MS, language="en")
        (one,) = claim(tx, NOW_MS)
        found = write(tx, one, replace(PLACE, host="other.test"), now_ms=NOW_MS)
    assert found is not None
    assert "other.test" in found.text
