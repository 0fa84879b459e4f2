from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from sekisho import sessions, users
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.db import Database
from sekisho.ids import UserId
from sekisho.secret import Secret
from sekisho.sessions import Begun, Method, Session, Stage, find_session
from sekisho.sessions.actions import SESSIONS_MAX
from sekisho.sessions.model import ABSOLUTE_MS, HALF_MS, IDLE_MS, SEEN_EVERY_MS, STEP_UP_MS, digest_of
from sekisho.sessions.tables import session
from sekisho.users import User
from tests.fakes.control import NOW_MS, a_subuser, an_account, audited

BY = By("user:1", NOW_MS, "192.0.2.7")


@pytest.fixture
def acme(control: Database) -> Account:
    with control.begin() as tx:
        return an_account(tx)


@pytest.fixture
def ann(control: Database, acme: Account) -> User:
    return a_person(control, acme, "ann")


def a_person(control: Database, tenant: Account, name: str, role: users.Role = users.Role.OWNER) -> User:
    with control.begin() as tx:
        made = users.add(tx, tenant, username=name, email=f"{name}@example.com", password="", role=role, by=BY)
        assert isinstance(made, User), made
        return made


def begun(
    control: Database,
    whose: UserId | None,
    stage: Stage = Stage.FULL,
    *,
    at_ms: int = NOW_MS,
    user_agent: str = "Test/1.0",
) -> Begun:
    with control.begin() as tx:
        return sessions.begin(tx, user_id=whose, stage=stage, address="192.0.2.7", user_agent=user_agent, at_ms=at_ms)


def found(control: Database, token: Secret[str], at_ms: int) -> Session | None:
    with control.connect() as tx:
        return find_session(tx, token, at_ms)


def test_a_session_is_found_by_its_token_which_is_not_stored(control: Database, ann: User) -> None:
    one = begun(control, ann.id)
    assert found(control, one.token, NOW_MS) == one.session
    with control.connect() as tx:
        row = tx.execute(sa.select(session)).one()
    assert row.digest == digest_of(one.token)
    assert not any(one.token.reveal() in str(value) for value in row)
    for other in ("", "x", "é" * 43, "x" * 101, one.token.reveal() + "A"):
        assert found(control, Secret(other), NOW_MS) is None


def test_it_ends_when_it_is_idle_and_in_any_case(control: Database, ann: User) -> None:
    one = begun(control, ann.id)
    assert found(control, one.token, NOW_MS + IDLE_MS - 1)
    assert found(control, one.token, NOW_MS + IDLE_MS) is None
    # Used every half hour it lasts its twelve hours, and not a moment longer.
    at_ms = NOW_MS
    while at_ms + IDLE_MS // 2 < NOW_MS + ABSOLUTE_MS:
        at_ms += IDLE_MS // 2
        seen = found(control, one.token, at_ms)
        assert seen is not None
        with control.begin() as tx:
            sessions.touch(tx, seen, address="192.0.2.8", at_ms=at_ms)
    assert found(control, one.token, NOW_MS + ABSOLUTE_MS - 1)
    assert found(control, one.token, NOW_MS + ABSOLUTE_MS) is None


def test_a_clock_set_back_ends_it(control: Database, ann: User) -> None:
    assert found(control, begun(control, ann.id).token, NOW_MS - 1) is None


def test_half_a_log_in_ends_soon(control: Database, ann: User) -> None:
    one = begun(control, ann.id, Stage.PASSWORD)
    assert found(control, one.token, NOW_MS + HALF_MS - 1)
    assert found(control, one.token, NOW_MS + HALF_MS) is None


def test_what_goes_on_has_a_new_token_and_the_old_one_opens_nothing(control: Database, ann: User) -> None:
    one = begun(control, ann.id, Stage.PASSWORD)
    with control.begin() as tx:
        two = sessions.advance(tx, one.session, stage=Stage.FULL, method=Method.TOTP, at_ms=NOW_MS + 1000)
    assert two is not None
    assert found(control, one.token, NOW_MS + 1000) is None
    assert found(control, two.token, NOW_MS + 1000) == two.session
    assert two.session.expires_ms == NOW_MS + 1000 + ABSOLUTE_MS
    assert two.session.is_stepped_up(NOW_MS + 1000 + STEP_UP_MS - 1)
    assert not two.session.is_stepped_up(NOW_MS + 1000 + STEP_UP_MS)


def test_stepping_up_lengthens_no_session(control: Database, ann: User) -> None:
    one = begun(control, ann.id)
    with control.begin() as tx:
        two = sessions.advance(tx, one.session, stage=Stage.FULL, method=Method.PASSKEY, at_ms=NOW_MS + IDLE_MS // 2)
    assert two is not None
    assert two.session.expires_ms == one.session.expires_ms
    assert two.session.created_ms == NOW_MS


def test_of_two_requests_that_go_on_from_one_place_one_does(control: Database, ann: User) -> None:
    one = begun(control, ann.id, Stage.PASSWORD)
    with control.begin() as tx:
        assert sessions.advance(tx, one.session, stage=Stage.FULL, method=Method.TOTP, at_ms=NOW_MS)
        assert sessions.advance(tx, one.session, stage=Stage.FULL, method=Method.TOTP, at_ms=NOW_MS) is None


def test_one_that_was_ended_meanwhile_goes_nowhere(control: Database, ann: User) -> None:
    one = begun(control, ann.id)
    with control.begin() as tx:
        assert sessions.end(tx, ann, one.session.id, by=BY)
        assert sessions.advance(tx, one.session, stage=Stage.FULL, method=Method.TOTP, at_ms=NOW_MS) is None


def test_a_visitor_becomes_somebody(control: Database, ann: User) -> None:
    one = begun(control, None, Stage.VISITOR)
    with control.begin() as tx:
        two = sessions.advance(tx, one.session, stage=Stage.FULL, method=Method.PASSKEY, at_ms=NOW_MS, user_id=ann.id)
    assert two is not None
    assert two.session.user_id == ann.id


def test_touching_writes_once_a_minute(control: Database, ann: User) -> None:
    one = begun(control, ann.id)
    with control.begin() as tx:
        sessions.touch(tx, one.session, address="192.0.2.9", at_ms=NOW_MS + SEEN_EVERY_MS - 1)
    assert found(control, one.token, NOW_MS) == one.session
    with control.begin() as tx:
        sessions.touch(tx, one.session, address="192.0.2.9", at_ms=NOW_MS + SEEN_EVERY_MS)
    after = replace(one.session, address="192.0.2.9", seen_ms=NOW_MS + SEEN_EVERY_MS)
    assert found(control, one.token, NOW_MS) == after


def test_somebody_ends_his_own_sessions_only(control: Database, acme: Account, ann: User) -> None:
    bob = a_person(control, acme, "bob", users.Role.ADMIN)
    mine, other, his = begun(control, ann.id), begun(control, ann.id), begun(control, bob.id)
    with control.begin() as tx:
        assert not sessions.end(tx, ann, his.session.id, by=BY)
        assert sessions.end_others(tx, ann, mine.session, by=BY) == 1
        assert not sessions.end(tx, ann, other.session.id, by=BY)
    assert found(control, mine.token, NOW_MS)
    assert found(control, his.token, NOW_MS)
    assert audited(control).count(("session.end", "ann")) == 1


def test_the_list_has_complete_log_ins_that_are_not_over(control: Database, ann: User) -> None:
    begun(control, ann.id, at_ms=NOW_MS - IDLE_MS)
    begun(control, ann.id, Stage.PASSWORD)
    old, new = begun(control, ann.id, at_ms=NOW_MS - 5000), begun(control, ann.id)
    with control.connect() as tx:
        assert sessions.sessions_of(tx, ann.id, NOW_MS) == (new.session, old.session)


def test_one_person_has_so_many_and_the_oldest_ends(control: Database, ann: User) -> None:
    first = begun(control, ann.id, at_ms=NOW_MS - 1000)
    for _ in range(SESSIONS_MAX):
        last = begun(control, ann.id)
    assert found(control, first.token, NOW_MS) is None
    assert found(control, last.token, NOW_MS)


def test_what_is_remembered_is_taken_once(control: Database, ann: User) -> None:
    one = begun(control, ann.id)
    with control.begin() as tx:
        sessions.remember(tx, one.session, {"challenge": "abc"})
        assert sessions.take_scratch(tx, one.session) == {"challenge": "abc"}
        assert sessions.take_scratch(tx, one.session) == {}
        with pytest.raises(ValueError, match="too much"):
            sessions.remember(tx, one.session, {"challenge": "x" * 9000})


def test_going_on_forgets_what_was_remembered(control: Database, ann: User) -> None:
    one = begun(control, ann.id, Stage.PASSWORD)
    with control.begin() as tx:
        sessions.remember(tx, one.session, {"challenge": "abc"})
        two = sessions.advance(tx, one.session, stage=Stage.FULL, method=Method.PASSKEY, at_ms=NOW_MS)
        assert two is not None
        assert sessions.take_scratch(tx, two.session) == {}


def test_what_is_over_is_swept(control: Database, ann: User) -> None:
    begun(control, ann.id, at_ms=NOW_MS - IDLE_MS)
    begun(control, ann.id, Stage.PASSWORD, at_ms=NOW_MS - HALF_MS)
    kept = begun(control, ann.id)
    with control.begin() as tx:
        assert sessions.sweep(tx, NOW_MS) == 2
        assert tx.execute(sa.select(session.c.id)).scalars().all() == [kept.session.id]


def test_acting_for_a_subuser_stands_in_its_log(control: Database, acme: Account, ann: User) -> None:
    one = begun(control, ann.id)
    with control.begin() as tx:
        shop = a_subuser(tx, acme)
        sessions.act_for(tx, one.session, ann, shop, by=BY)
    seen = found(control, one.token, NOW_MS)
    assert seen is not None
    assert seen.acting_for == shop.id
    with control.begin() as tx:
        sessions.act_for(tx, seen, ann, None, by=BY)
    assert audited(control).count(("session.act_for", "ann")) == 1


def test_a_browser_s_name_is_cut_and_made_harmless(control: Database, ann: User) -> None:
    one = begun(control, ann.id, user_agent="a\0b\r\n\u202ec" + "x" * 300)
    assert one.session.user_agent.startswith("a?b???c")
    assert len(one.session.user_agent) == 200
