from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from sekisho import letters, links, teammates, users
from sekisho.accounts import Account, mark_deleted
from sekisho.apikeys.groups import GROUPS
from sekisho.apikeys.scopes import FULL_ACCESS, effective
from sekisho.audit import By, audit
from sekisho.db import Database
from sekisho.identity import Identity
from sekisho.ids import AccountId
from sekisho.letters.tables import letter
from sekisho.links import Purpose
from sekisho.refusal import Declined, Obstacle
from sekisho.teammates import Grant, Permission, Rights, may_act_for
from sekisho.teammates.model import INVITATION_MS, LETTERS_A_DAY, MINIMUM, TEAMMATES_MAX
from sekisho.teammates.tables import invitation, subuser_access
from sekisho.users.model import Role, User
from tests.fakes.control import BY, NOW_MS, a_subuser, an_account, audited
from tests.fakes.people import (
    MATES,
    a_restricted_teammate,
    a_teammate,
    an_admin,
    an_invitation,
    an_owner,
    everything,
)

READS = Grant(Permission.RESTRICTED, frozenset({"stats.read"}))
LATER = By("test", NOW_MS + INVITATION_MS)


@pytest.fixture
def database(control: Database) -> Database:
    return control


@pytest.fixture
def acme(database: Database) -> Account:
    with database.begin() as tx:
        return an_account(tx)


def someone(tenant: Account, scopes: frozenset[str]) -> Identity:
    return replace(everything(tenant), scopes=scopes)


def obstacle(answer: object) -> Obstacle | None:
    return answer.obstacle if isinstance(answer, Declined) else None


# Inviting and accepting.


@pytest.mark.parametrize(
    ("rights", "role", "scopes"),
    [
        (Rights(is_admin=True), Role.ADMIN, None),
        (Rights(scopes=MATES), Role.TEAMMATE, MATES | MINIMUM),
        (Rights(), Role.TEAMMATE, MINIMUM),
    ],
)
def test_who_accepts_may_do_what_the_invitation_says(
    database: Database, acme: Account, rights: Rights, role: Role, scopes: frozenset[str] | None
) -> None:
    with database.begin() as tx:
        invited = an_invitation(tx, acme, "New@Example.ORG", rights)
        made = teammates.accept(tx, invited.id, username="newt", password="", language="ja", by=BY)
        assert isinstance(made, User)
        assert made == users.user_by_id(tx, made.id)
        assert (made.tenant_id, made.role, made.scopes, made.restricted) == (acme.id, role, scopes, False)
        assert (made.login_email, made.language) == ("new@example.org", "ja")
        assert teammates.pending_of(tx, acme.id) == ()
    assert ("teammate.invite", invited.token) in audited(database)
    assert ("teammate.join", "newt") in audited(database)


def test_an_invitation_is_a_letter_with_a_link_of_its_own(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        users.set_language(tx, an_owner(tx, acme), "ja")
        invited = an_invitation(tx, acme)
        row = tx.execute(sa.select(letter)).one()
    assert (row.kind, row.to_email, row.language) == (letters.Kind.INVITE, invited.email, "ja")
    assert (row.account_id, row.invitation_id) == (acme.id, invited.id)
    # What names it to the API is not in the letter's row, and nothing in the row opens anything.
    assert invited.token not in str(row)


def test_an_invitation_is_good_once_and_for_a_week(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        invited = an_invitation(tx, acme)
        late = teammates.accept(tx, invited.id, username="late", password="", by=LATER)
        assert obstacle(late) is Obstacle.INVITATION_UNKNOWN
        assert isinstance(teammates.accept(tx, invited.id, username="first", password="", by=BY), User)
        again = teammates.accept(tx, invited.id, username="second", password="", by=BY)
        assert obstacle(again) is Obstacle.INVITATION_UNKNOWN


def test_a_name_that_is_taken_leaves_the_invitation_as_it_was(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        a_teammate(tx, acme, "tim")
        an_account(tx, "other")
        invited = an_invitation(tx, acme)
        # Also what stands in the API's paths where names do, and what an account is called.
        for name in ("TIM", "Pending", "Other"):
            taken = teammates.accept(tx, invited.id, username=name, password="", by=BY)
            assert obstacle(taken) is Obstacle.USERNAME_TAKEN, name
        assert teammates.pending_of(tx, acme.id) == (invited,)


def test_sending_again_begins_anew_and_ends_the_link_that_was_sent_before(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        invited = an_invitation(tx, acme)
        first = links.make(tx, Purpose.INVITE, at_ms=NOW_MS, invitation_id=invited.id)
        again = teammates.resend(tx, acme, invited, by=LATER)
        assert not isinstance(again, Declined)
        assert again.expires_ms == LATER.at_ms + INVITATION_MS
        assert again.token == invited.token
        assert links.use(tx, Purpose.INVITE, first.reveal(), at_ms=NOW_MS) is None
        assert tx.execute(sa.select(sa.func.count()).select_from(letter)).scalar_one() == 2
        assert isinstance(teammates.accept(tx, invited.id, username="newt", password="", by=LATER), User)


def test_an_invitation_taken_back_sends_and_opens_nothing(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        invited = an_invitation(tx, acme)
        sent = links.make(tx, Purpose.INVITE, at_ms=NOW_MS, invitation_id=invited.id)
        teammates.withdraw(tx, invited, by=BY)
        assert links.use(tx, Purpose.INVITE, sent.reveal(), at_ms=NOW_MS) is None
        assert letters.actions.claim(tx, NOW_MS + 1) == ()
        gone = teammates.accept(tx, invited.id, username="newt", password="", by=BY)
        assert obstacle(gone) is Obstacle.INVITATION_UNKNOWN


def test_nobody_is_invited_twice_into_one_account_and_elsewhere_is_elsewhere(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        other = an_account(tx, "other")
        mate = a_teammate(tx, acme)
        invited = an_invitation(tx, acme)
        for address in (mate.email.upper(), invited.email.upper()):
            answer = teammates.invite(tx, acme, address, Rights(), granter=everything(acme), by=BY)
            assert obstacle(answer) is Obstacle.TEAMMATE_TAKEN
        # Whether an address is somebody's elsewhere is not told here.
        for address in (mate.email, invited.email):
            an_invitation(tx, other, address)


def test_who_logs_in_elsewhere_with_that_address_learns_it_from_the_link(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        mate = a_teammate(tx, an_account(tx, "other"))
        invited = an_invitation(tx, acme, mate.email)
        answer = teammates.accept(tx, invited.id, username="newt", password="", by=BY)
        assert obstacle(answer) is Obstacle.EMAIL_TAKEN


@pytest.mark.parametrize("address", ["", "nobody", "a@[192.0.2.1]", "a@b@c", "x" * 250 + "@example.com"])
def test_only_addresses_are_invited(database: Database, acme: Account, address: str) -> None:
    with database.begin() as tx:
        answer = teammates.invite(tx, acme, address, Rights(), granter=everything(acme), by=BY)
        assert obstacle(answer) is Obstacle.EMAIL_MALFORMED


def test_an_account_has_so_many_teammates(database: Database, acme: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.teammates.actions.TEAMMATES_MAX", 3)
    with database.begin() as tx:
        an_owner(tx, acme)
        a_teammate(tx, acme)
        an_invitation(tx, acme)
        answer = teammates.invite(tx, acme, "one@more.example", Rights(), granter=everything(acme), by=BY)
        assert obstacle(answer) is Obstacle.TEAMMATES_TOO_MANY
    assert TEAMMATES_MAX == 1000


def test_letters_to_strangers_are_counted_also_those_of_invitations_taken_back(
    database: Database, acme: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekisho.teammates.actions.LETTERS_A_DAY", 2)
    with database.begin() as tx:
        for name in ("a", "b"):
            teammates.withdraw(tx, an_invitation(tx, acme, f"{name}@example.org"), by=BY)
        answer = teammates.invite(tx, acme, "c@example.org", Rights(), granter=everything(acme), by=BY)
        assert obstacle(answer) is Obstacle.INVITATIONS_TOO_MANY
        # Neither by another's, nor for ever.
        kept = an_invitation(tx, an_account(tx, "other"), "c@example.org")
        assert obstacle(teammates.resend(tx, acme, kept, by=BY)) is Obstacle.INVITATIONS_TOO_MANY
        tomorrow = By("test", NOW_MS + 24 * 3_600_000)
        made = teammates.invite(tx, acme, "c@example.org", Rights(), granter=everything(acme), by=tomorrow)
        assert not isinstance(made, Declined)
    assert LETTERS_A_DAY == 200


# For subusers.


def test_a_restricted_teammate_may_do_for_subusers_what_is_listed(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        shop, club, other = (a_subuser(tx, acme, name) for name in ("shop", "club", "other"))
        foreign = a_subuser(tx, an_account(tx, "else"), "foreign")
        rita = a_restricted_teammate(tx, acme, {shop: READS, club: Grant(Permission.ADMIN)})
        assert rita.scopes == MINIMUM
        assert rita.restricted
        assert may_act_for(tx, rita, shop) == frozenset({"stats.read"})
        assert may_act_for(tx, rita, club) == effective(None, of_subuser=True)
        for none in (other, foreign, acme):
            assert may_act_for(tx, rita, none) is None
        assert [teammates.manages(tx, rita, one) for one in (acme, shop, club, other)] == [False, False, True, False]


def test_who_may_act_for_a_subuser_at_all(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        shop = a_subuser(tx, acme)
        foreign = a_subuser(tx, an_account(tx, "else"), "foreign")
        everyone = effective(None, of_subuser=True)
        for person, expected in (
            (an_owner(tx, acme), everyone),
            (an_admin(tx, acme), everyone),
            (a_teammate(tx, acme, scopes=FULL_ACCESS), None),
            (an_owner(tx, shop, "shopkeeper"), None),
        ):
            assert may_act_for(tx, person, shop) == expected, person.username
            assert may_act_for(tx, person, foreign) is None
            assert may_act_for(tx, person, acme) is None


def test_subusers_that_go_leave_no_access_behind(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        shop, club = a_subuser(tx, acme), a_subuser(tx, acme, "club")
        rita = a_restricted_teammate(tx, acme, {shop: READS, club: READS})
        late = an_invitation(tx, acme, "late@example.org", Rights(access={shop.id: READS, club.id: READS}))
        an_invitation(tx, shop, "guest@example.org")
        teammates.erase(tx, shop, at_ms=NOW_MS)
        mark_deleted(tx, shop, by=BY)
        assert teammates.access_of(tx, rita.id) == {club.id: READS}
        assert teammates.pending_of(tx, shop.id) == ()
        made = teammates.accept(tx, late.id, username="late", password="", by=BY)
        assert isinstance(made, User)
        assert teammates.access_of(tx, made.id) == {club.id: READS}


def test_a_subuser_of_somebody_else_is_none(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        foreign = a_subuser(tx, an_account(tx, "else"), "foreign")
        for number in (foreign.id, acme.id, AccountId(999)):
            rights = Rights(access={number: READS})
            answer = teammates.invite(tx, acme, "x@example.org", rights, granter=everything(acme), by=BY)
            assert obstacle(answer) is Obstacle.SUBUSER_UNKNOWN
        assert tx.execute(sa.select(invitation)).all() == []


# Changing.


def test_rights_change_from_every_kind_to_every_other(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        shop = a_subuser(tx, acme)
        tim = a_teammate(tx, acme)
        kinds = [Rights(is_admin=True), Rights(scopes=MATES | MINIMUM), Rights(access={shop.id: READS})]
        for before in kinds:
            for after in kinds:
                for rights in (before, after):
                    changed = teammates.change(tx, acme, tim, rights, granter=everything(acme), actor_id=None, by=BY)
                    assert isinstance(changed, User)
                    tim = changed
                assert teammates.rights_of(tx, tim) == after
                assert users.user_by_id(tx, tim.id) == tim
                rows = tx.execute(sa.select(subuser_access)).all()
                assert len(rows) == (1 if after.restricted else 0)


def test_what_changed_stands_in_the_audit_log(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        tim = a_teammate(tx, acme, scopes=frozenset({"stats.read"}))
        teammates.change(tx, acme, tim, Rights(is_admin=True), granter=everything(acme), actor_id=None, by=BY)
        row = tx.execute(sa.select(audit).where(audit.c.action == "teammate.change")).one()
    assert (row.subject, row.details) == ("tim", '{"rights":"admin","rights_before":["stats.read"]}')


def test_the_owner_oneself_and_those_who_may_do_more_are_out_of_reach(database: Database, acme: Account) -> None:
    all_of_it = everything(acme)
    with database.begin() as tx:
        owner, admin, tim = an_owner(tx, acme), an_admin(tx, acme), a_teammate(tx, acme)
        some = someone(acme, frozenset({"teammates.update", "stats.read"}))
        for person, granter, actor_id in (
            (owner, all_of_it, None),
            (owner, all_of_it, owner.id),
            (admin, all_of_it, admin.id),
            (tim, all_of_it, tim.id),
            (admin, some, None),
            (tim, some, None),
        ):
            answer = teammates.change(tx, acme, person, Rights(), granter=granter, actor_id=actor_id, by=BY)
            assert obstacle(answer) is Obstacle.TEAMMATE_OUT_OF_REACH, person.username
        assert isinstance(
            teammates.change(tx, acme, admin, Rights(), granter=all_of_it, actor_id=owner.id, by=BY), User
        )


# Asking for more.


def test_a_group_that_is_asked_for_is_given_whole_beside_what_one_has(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        tim = a_teammate(tx, acme)
        first = teammates.ask(tx, acme, tim, "Templates", by=BY)
        assert teammates.ask(tx, acme, tim, "Templates", by=BY) == first
        (asked,) = teammates.requests_of(tx, acme.id)
        assert (asked.request, asked.person) == (first, tim)
        after = teammates.approve(tx, acme, asked, granter=everything(acme), actor_id=None, by=BY)
        assert isinstance(after, User)
        assert after.scopes == MATES | set(GROUPS["Templates"])
        assert users.user_by_id(tx, tim.id) == after
        assert teammates.requests_of(tx, acme.id) == ()
    assert [action for action, _ in audited(database) if action.startswith("teammate.")] == [
        "teammate.ask",
        "teammate.approve",
    ]


def test_nobody_approves_his_own_request_nor_gives_what_he_lacks(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        tim = a_teammate(tx, acme)
        teammates.ask(tx, acme, tim, "Templates", by=BY)
        (asked,) = teammates.requests_of(tx, acme.id)
        himself = teammates.approve(tx, acme, asked, granter=everything(acme), actor_id=tim.id, by=BY)
        assert obstacle(himself) is Obstacle.TEAMMATE_OUT_OF_REACH
        some = someone(acme, frozenset({"templates.read"}))
        lacking = teammates.approve(tx, acme, asked, granter=some, actor_id=None, by=BY)
        assert obstacle(lacking) is Obstacle.SCOPE_UNASSIGNABLE
        assert teammates.requests_of(tx, acme.id) == (asked,)
        teammates.deny(tx, acme, asked, by=BY)
        assert teammates.requests_of(tx, acme.id) == ()
        assert users.user_by_id(tx, tim.id) == tim


def test_only_who_has_a_list_of_scopes_asks_and_only_for_what_there_is(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        rita = a_restricted_teammate(tx, acme, {a_subuser(tx, acme): READS})
        for person in (an_owner(tx, acme), an_admin(tx, acme), rita):
            answer = teammates.ask(tx, acme, person, "Templates", by=BY)
            assert obstacle(answer) is Obstacle.TEAMMATE_OUT_OF_REACH
        answer = teammates.ask(tx, acme, a_teammate(tx, acme), "Everything", by=BY)
        assert obstacle(answer) is Obstacle.SCOPE_UNKNOWN


def test_a_subusers_teammate_is_given_of_a_group_what_subusers_may_have(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        shop = a_subuser(tx, acme)
        tim = a_teammate(tx, shop)
        teammates.ask(tx, shop, tim, "Subusers", by=BY)
        (asked,) = teammates.requests_of(tx, shop.id)
        assert teammates.find_request(tx, acme.id, asked.request.id) is None
        after = teammates.approve(tx, shop, asked, granter=everything(shop), actor_id=None, by=BY)
        assert isinstance(after, User)
        assert after.scopes == MATES


def test_what_was_asked_for_is_forgotten_with_the_person_or_the_list(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        tim, tom = a_teammate(tx, acme), a_teammate(tx, acme, "tom")
        for person in (tim, tom):
            teammates.ask(tx, acme, person, "Templates", by=BY)
        teammates.change(tx, acme, tim, Rights(is_admin=True), granter=everything(acme), actor_id=None, by=BY)
        teammates.forget(tx, tom.id)
        assert teammates.requests_of(tx, acme.id) == ()


def test_who_is_there_is_found_in_his_own_account_only(database: Database, acme: Account) -> None:
    with database.begin() as tx:
        tim = a_teammate(tx, acme)
        other = an_account(tx, "other")
        invited = an_invitation(tx, acme)
        assert teammates.find_teammate(tx, acme.id, "TIM") == tim
        assert teammates.find_teammate(tx, other.id, "tim") is None
        assert teammates.find_pending(tx, acme.id, invited.token) == invited
        assert teammates.find_pending(tx, other.id, invited.token) is None
        assert teammates.invitation_by_id(tx, invited.id) == invited
