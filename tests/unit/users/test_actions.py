from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest

from sekisho import audit, users
from sekisho.accounts import Account, account_by_id
from sekisho.db import Database
from sekisho.refusal import Declined, Obstacle
from sekisho.users import Profile, Role, User
from sekisho.users.actions import PROFILE_FIELD_MAX, renew_hash
from tests.fakes.control import BY, a_subuser, an_account, audited
from tests.fakes.people import a_teammate, an_admin, an_owner


@pytest.fixture
def acme(control: Database) -> Account:
    with control.begin() as tx:
        return an_account(tx)


def add(control: Database, tenant: Account, **what: Any) -> User | Declined:
    given = {"username": "ann", "email": "ann@example.org", "password": "", "role": Role.ADMIN} | what
    with control.begin() as tx:
        return users.add(tx, tenant, by=BY, **given)


def obstacle(answer: object) -> Obstacle | None:
    return answer.obstacle if isinstance(answer, Declined) else None


def test_a_person_is_read_as_he_was_made(control: Database, acme: Account) -> None:
    made = add(
        control,
        acme,
        username="Ann",
        email="Ann@Example.org",
        password="$argon2id$",
        proved=True,
        role=Role.TEAMMATE,
        scopes=frozenset({"stats.read", "mail.send"}),
        restricted=True,
        profile=Profile(first_name="Ann", city="Ōsaka"),
        language="ja",
    )
    assert isinstance(made, User)
    assert (made.email, made.login_email, made.has_password) == ("Ann@Example.org", "ann@example.org", True)
    with control.connect() as tx:
        assert users.user_by_id(tx, made.id) == made
        assert users.find_user(tx, "aNN") == users.find_user(tx, "ANN@example.ORG") == made
        assert users.users_of(tx, acme.id) == users.all_users(tx) == (made,)
        assert users.count_users(tx, acme.id) == 1
        assert users.owner_of(tx, acme.id) is None
        # The audit log keeps the address where it can be erased.
        (entry,) = [one for one in audit.entries(tx, acme.id, limit=9) if one.action == "user.create"]
    assert entry.subject == "Ann"
    assert "Example.org" not in repr(entry.subject)


@pytest.mark.parametrize(
    "username", ["", "-ann", ".ann", "a b", "ann\n", "änn", "a" * 65, "a/b", "a'b", "a\x00", "ann@example.org"]
)
def test_names_that_could_be_misread_are_declined(control: Database, acme: Account, username: str) -> None:
    answer = add(control, acme, username=username)
    assert obstacle(answer) is Obstacle.USERNAME_MALFORMED
    assert "user.create" not in [action for action, _ in audited(control)]


def test_an_address_is_a_user_name_of_who_has_proved_it_or_whose_account_is_called_so(
    control: Database, acme: Account
) -> None:
    assert isinstance(add(control, acme, username="Ann@example.org", proved=True), User)
    with control.begin() as tx:
        shop = a_subuser(tx, acme, "bob@example.org")
    assert isinstance(add(control, shop, username="bob@example.org", email="x@y.example"), User)
    assert obstacle(add(control, acme, username="eve@example.org", proved=True)) is Obstacle.USERNAME_MALFORMED


@pytest.mark.parametrize("email", ["", "ann", "ann@", "ann@[192.0.2.1]", "a b@c.example", "x" * 255 + "@a.example"])
def test_a_person_has_an_address(control: Database, acme: Account, email: str) -> None:
    assert obstacle(add(control, acme, email=email)) is Obstacle.EMAIL_MALFORMED


def test_user_names_are_one_name_space_with_accounts_and_subusers(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        other = an_account(tx, "other")
        shop = a_subuser(tx, other, "shop")
    assert isinstance(add(control, acme, username="ann"), User)
    for taken in ("ANN", "Other", "SHOP"):
        assert obstacle(add(control, acme, username=taken, email="b@example.org")) is Obstacle.USERNAME_TAKEN
    assert isinstance(add(control, acme, username="acme", email="b@example.org"), User)
    assert isinstance(add(control, shop, username="Shop", email="c@example.org"), User)


def test_an_address_that_was_proved_is_one_persons_on_the_whole_server(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        other = an_account(tx, "other")
    assert isinstance(add(control, acme, proved=True), User)
    again = add(control, other, username="bob", email="ANN@example.org", proved=True)
    assert obstacle(again) is Obstacle.EMAIL_TAKEN
    # Written to there may be whoever.
    assert isinstance(add(control, other, username="bob", email="ANN@example.org"), User)


def test_there_is_one_owner(control: Database, acme: Account) -> None:
    made = add(control, acme, role=Role.OWNER)
    assert isinstance(made, User)
    assert obstacle(add(control, acme, username="bob", role=Role.OWNER)) is Obstacle.OWNER_EXISTS
    with control.connect() as tx:
        assert users.owner_of(tx, acme.id) == made


def test_an_owners_address_that_is_proved_is_the_accounts_contact(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        owner, mate = an_owner(tx, acme), a_teammate(tx, acme)
        after = users.prove_email(tx, owner, "New@example.net", by=BY)
        assert isinstance(after, User)
        assert users.user_by_id(tx, owner.id) == after
        assert (after.email, after.login_email) == ("New@example.net", "new@example.net")
        tenant = account_by_id(tx, acme.id)
        assert tenant is not None
        assert tenant.owner_email == "New@example.net"
        users.prove_email(tx, mate, "mate@example.net", by=BY)
        assert account_by_id(tx, acme.id) == tenant
        assert users.find_user(tx, "olga@example.org") is None
    actions = [action for action, _ in audited(control)]
    assert actions[-3:] == ["account.contact", "user.email", "user.email"]


def test_of_two_who_prove_the_same_address_at_the_same_time_one_has_it(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        people = [an_admin(tx, acme, f"admin-{number}") for number in range(6)]
    ready = Barrier(len(people))

    def prove(person: User) -> User | Declined:
        ready.wait(30)
        with control.begin() as tx:
            return users.prove_email(tx, person, "Shared@example.net", by=BY)

    with ThreadPoolExecutor(len(people)) as threads:
        answers = list(threads.map(prove, people))
    (won,) = [one for one in answers if isinstance(one, User)]
    assert [obstacle(one) for one in answers if isinstance(one, Declined)] == [Obstacle.EMAIL_TAKEN] * 5
    with control.connect() as tx:
        assert users.by_login_email(tx, "shared@example.net") == won
        assert [one.login_email for one in users.users_of(tx, acme.id)].count("shared@example.net") == 1


def test_proving_it_again_changes_nothing(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        owner = an_owner(tx, acme)
    before = audited(control)
    with control.begin() as tx:
        assert users.prove_email(tx, owner, owner.email, by=BY) == owner
    assert audited(control) == before


def test_a_name_is_changed_and_the_old_one_is_free(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        owner, other = an_owner(tx, acme), an_admin(tx, acme)
        after = users.rename(tx, acme, owner, "Olga2", by=BY)
        assert isinstance(after, User)
        assert users.by_username(tx, "OLGA2") == after
        assert users.by_username(tx, "olga") is None
        assert obstacle(users.rename(tx, acme, other, "olgA2", by=BY)) is Obstacle.USERNAME_TAKEN
        # The same in other letters is one's own.
        again = users.rename(tx, acme, after, "olga2", by=BY)
        assert isinstance(again, User)
        assert users.rename(tx, acme, again, "olga2", by=BY) == again
        assert isinstance(users.rename(tx, acme, other, "olga", by=BY), User)
    assert [one for one in audited(control) if one[0] == "user.rename"] == [
        ("user.rename", "Olga2"),
        ("user.rename", "olga2"),
        ("user.rename", "olga"),
    ]


def test_rights_are_set_of_all_but_owners(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        owner, mate = an_owner(tx, acme), a_teammate(tx, acme)
        scopes = frozenset({"alerts.read"})
        after = users.set_rights(tx, mate, role=Role.TEAMMATE, scopes=scopes, restricted=True, by=BY)
        assert users.user_by_id(tx, mate.id) == after == replace(mate, scopes=scopes, restricted=True)
        assert not after.is_manager
        admin = users.set_rights(tx, after, role=Role.ADMIN, scopes=None, restricted=False, by=BY)
        assert admin.is_manager
        for person, role in ((owner, Role.ADMIN), (admin, Role.OWNER)):
            with pytest.raises(ValueError, match="owner"):
                users.set_rights(tx, person, role=role, scopes=None, restricted=False, by=BY)


def test_a_profile_is_kept_within_bounds_and_not_in_the_audit_log(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        owner = an_owner(tx, acme)
        profile = Profile(first_name="Olga", company="Ō" * PROFILE_FIELD_MAX)
        after = users.update_profile(tx, owner, profile, by=BY)
        assert isinstance(after, User)
        assert users.user_by_id(tx, owner.id) == after == replace(owner, profile=profile)
        for bad in ("x" * (PROFILE_FIELD_MAX + 1), "a\nb", "a\x00", "\u202eevil"):
            answer = users.update_profile(tx, after, replace_city(profile, bad), by=BY)
            assert obstacle(answer) is Obstacle.PROFILE_MALFORMED, bad
        users.update_profile(tx, after, profile, by=BY)
        found = [one for one in audit.entries(tx, acme.id, limit=9) if one.action == "user.profile"]
    assert [one.details for one in found] == [{"fields": ["company", "first_name"]}]


def replace_city(profile: Profile, city: str) -> Profile:
    return Profile(first_name=profile.first_name, company=profile.company, city=city)


def test_the_language_of_pages_is_chosen_or_the_browsers(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        owner = an_owner(tx, acme)
        assert users.set_language(tx, owner, "ja").language == "ja"
        found = users.user_by_id(tx, owner.id)
        assert found is not None
        assert found.language == "ja"
        assert users.set_language(tx, found, None) == owner


def test_a_hash_is_renewed_only_while_it_is_the_one_that_was_compared(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        owner = an_owner(tx, acme)
        users.set_password(tx, owner, "$old", by=BY)
        renew_hash(tx, owner.id, before="$other", after="$new")
        renew_hash(tx, owner.id, before="$old", after="$newer")
        stored = tx.execute(users.user.select()).one().password
    assert stored == "$newer"
    assert [action for action, _ in audited(control)][-1] == "user.password"


def test_who_was_removed_is_nobody_and_his_number_is_never_given_again(control: Database, acme: Account) -> None:
    with control.begin() as tx:
        mate = a_teammate(tx, acme)
        users.remove(tx, mate, by=BY)
        assert users.user_by_id(tx, mate.id) is None
        again = a_teammate(tx, acme)
    assert again.id > mate.id
    assert ("user.remove", "tim") in audited(control)


@pytest.mark.parametrize(
    ("email", "names"),
    [
        ("tim@example.org", ["tim@example.org", "tim", "tim-2"]),
        ("o'hara@example.org", ["ohara", "ohara-2", "ohara-3"]),
        ("'@example.org", ["user", "user-2", "user-3"]),
        ("-.acme@example.org", ["acme", "acme-2", "acme-3"]),
        (f"{'a' * 60}@{'b' * 60}.example", ["a" * 58, "a" * 58 + "-2", "a" * 58 + "-3"]),
    ],
)
def test_a_name_is_proposed_that_is_free(control: Database, acme: Account, email: str, names: list[str]) -> None:
    with control.begin() as tx:
        for number, name in enumerate(names):
            assert users.propose_username(tx, acme, email) == name
            made = users.add(
                tx,
                acme,
                username=name,
                email=email if not number else f"{number}@example.org",
                proved=True,
                password="",
                role=Role.ADMIN,
                by=BY,
            )
            assert isinstance(made, User), made
