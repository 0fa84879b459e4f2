from __future__ import annotations

import json
from dataclasses import replace

import pytest
import sqlalchemy as sa

from sekisho.apikeys.actions import Wish, import_text, issue, revoke, revoke_all_of
from sekisho.apikeys.model import KEYS_MAX, digest_of, is_our_making
from sekisho.apikeys.tables import api_key, find_key, holding_keys, list_keys
from sekisho.audit import By, audit
from sekisho.changes import ChangeKind
from sekisho.db import Database
from sekisho.identity import KeyPolicy, Rate
from sekisho.refusal import Declined, Obstacle
from sekisho.secret import Secret
from tests.fakes.control import BY, NOW_MS, a_key, a_subuser, an_account, audited, changes_in

VENDORS = b"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"
WISH = Wish("n", KeyPolicy())


@pytest.fixture
def database(control: Database) -> Database:
    return control


def test_a_key_is_stored_as_a_digest_and_reads_back_as_it_was_made(database: Database) -> None:
    policy = KeyPolicy(rate=Rate(5, 60), daily=7, from_domains=frozenset({"example.com"}))
    with database.begin() as tx:
        shop = a_subuser(tx, an_account(tx))
        issued = a_key(tx, shop, policy, frozenset({"mail.send"}))
        row = tx.execute(sa.select(api_key)).one()
        assert find_key(tx, issued.key.id) == issued.key
    text = issued.text.reveal()
    assert is_our_making(text)
    assert text[3:25].decode() == issued.key.id
    assert row.digest == digest_of(text)
    assert (issued.key.account_id, issued.key.subuser_id) == (shop.parent_id, shop.id)
    assert issued.key.policy == policy
    assert text[26:].decode() not in str(row) + repr(issued)


def test_full_access_is_stored_as_such(database: Database) -> None:
    with database.begin() as tx:
        issued = a_key(tx, an_account(tx))
        assert tx.execute(sa.select(api_key.c.scopes)).scalar_one() is None
    assert issued.key.given is None
    assert "mail.send" in issued.key.scopes


def test_what_a_key_was_given_stands_in_the_audit_log_and_its_text_does_not(database: Database) -> None:
    with database.begin() as tx:
        issued = a_key(tx, an_account(tx), KeyPolicy(daily=3), frozenset({"mail.send"}))
    with database.connect() as tx:
        row = tx.execute(sa.select(audit).where(audit.c.action == "key.create")).one()
    assert row.subject == issued.key.id
    assert json.loads(row.details) == {"name": "a key", "policy": '{"daily":3}', "scopes": ["mail.send"]}


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 201, "a\x1b[31m"])
def test_a_key_needs_a_name_that_can_be_shown(database: Database, name: str) -> None:
    with database.begin() as tx:
        made = issue(tx, an_account(tx), replace(WISH, name=name), by=BY)
    assert isinstance(made, Declined)
    assert made.obstacle is Obstacle.KEY_MALFORMED


def test_scopes_are_judged_for_whom_they_are(database: Database) -> None:
    with database.begin() as tx:
        acme = an_account(tx)
        wish = replace(WISH, scopes=["subusers.read"])
        assert not isinstance(issue(tx, acme, wish, by=BY), Declined)
        made = issue(tx, a_subuser(tx, acme), wish, by=BY)
    assert isinstance(made, Declined)
    assert made.obstacle is Obstacle.SCOPE_UNASSIGNABLE


def test_an_account_and_each_subuser_have_a_hundred_keys_of_their_own(database: Database) -> None:
    with database.begin() as tx:
        acme = an_account(tx)
        shop = a_subuser(tx, acme)
        first = a_key(tx, acme)
        for _ in range(KEYS_MAX - 1):
            a_key(tx, acme)
        made = issue(tx, acme, WISH, by=BY)
        assert isinstance(made, Declined)
        assert made.obstacle is Obstacle.KEYS_TOO_MANY
        a_key(tx, shop)
        # A revoked key is none.
        revoke(tx, first.key.id, compromised=False, by=BY)
        a_key(tx, acme)


def test_another_providers_key_is_accepted_as_it_is(database: Database) -> None:
    with database.begin() as tx:
        key = import_text(tx, an_account(tx), WISH, Secret(VENDORS), by=BY)
        assert not isinstance(key, Declined)
        assert key.id == "qfTQ6KG0QBiwWdJ0-pCLCA"
        assert key.imported
        assert tx.execute(sa.select(api_key.c.digest)).scalar_one() == digest_of(VENDORS)
    assert audited(database)[-1] == ("key.import", key.id)
    assert changes_in(database)[-1].kind is ChangeKind.KEY_CREATED


@pytest.mark.parametrize(
    "text", [b"", b"x", VENDORS + b"x", VENDORS[:-1], VENDORS.lower(), VENDORS.replace(b".", b" ")]
)
def test_only_a_keys_text_is_imported_and_it_is_not_repeated(database: Database, text: bytes) -> None:
    with database.begin() as tx:
        key = import_text(tx, an_account(tx), WISH, Secret(text), by=BY)
    assert isinstance(key, Declined)
    assert key.obstacle is Obstacle.KEY_MALFORMED
    assert "qftq6kg0".casefold() not in key.text.casefold()


def test_an_id_is_taken_once_for_ever(database: Database) -> None:
    with database.begin() as tx:
        acme, other = an_account(tx, "acme"), an_account(tx, "other")
        import_text(tx, acme, WISH, Secret(VENDORS), by=BY)
        same = import_text(tx, other, WISH, Secret(VENDORS), by=BY)
        revoke(tx, "qfTQ6KG0QBiwWdJ0-pCLCA", compromised=False, by=BY)
        again = import_text(tx, acme, WISH, Secret(VENDORS), by=BY)
        different = import_text(tx, acme, WISH, Secret(VENDORS[:-1] + b"R"), by=BY)
    assert isinstance(same, Declined)
    assert isinstance(again, Declined)
    assert isinstance(different, Declined)
    assert {same.obstacle, again.obstacle, different.obstacle} == {Obstacle.KEY_TAKEN}
    assert "is here already" in same.text
    assert "is here already" in again.text
    assert "another key" in different.text


def test_a_second_revoke_is_a_no_op_with_the_same_answer(database: Database) -> None:
    later = By("operator:later", NOW_MS + 5)
    with database.begin() as tx:
        key_id = a_key(tx, an_account(tx)).key.id
        first = revoke(tx, key_id, compromised=False, by=BY)
        assert not isinstance(first, Declined)
        assert first.revoked_ms == NOW_MS
        assert revoke(tx, key_id, compromised=False, by=later) == first
        assert find_key(tx, key_id) == first
        assert holding_keys(tx) == frozenset()
    assert audited(database).count(("key.revoke", key_id)) == 1
    assert [change.kind for change in changes_in(database)].count(ChangeKind.KEY_REVOKED) == 1


def test_a_revoked_key_can_still_be_called_compromised_and_not_the_reverse(database: Database) -> None:
    later = By("operator:later", NOW_MS + 5)
    with database.begin() as tx:
        key_id = a_key(tx, an_account(tx)).key.id
        revoke(tx, key_id, compromised=False, by=BY)
        worse = revoke(tx, key_id, compromised=True, by=later)
        assert not isinstance(worse, Declined)
        assert (worse.revoked_ms, worse.compromised) == (NOW_MS, True)
        assert revoke(tx, key_id, compromised=False, by=later) == worse
        assert holding_keys(tx) == {key_id}
    assert [change.kind for change in changes_in(database)].count(ChangeKind.KEY_REVOKED) == 2


def test_an_unknown_key_is_declined_and_a_whole_key_is_not_repeated(database: Database) -> None:
    with database.begin() as tx:
        for text in ("x" * 22, VENDORS.decode()):
            answer = revoke(tx, text, compromised=False, by=BY)
            assert isinstance(answer, Declined)
            assert answer.obstacle is Obstacle.KEY_UNKNOWN
            assert "9UBPrcy" not in answer.text


def test_all_keys_of_a_subuser_end_and_nobody_elses(database: Database) -> None:
    with database.begin() as tx:
        acme = an_account(tx)
        shop, other = a_subuser(tx, acme, "shop"), a_subuser(tx, acme, "other")
        mine = [a_key(tx, shop).key.id for _ in range(3)]
        kept = {a_key(tx, acme).key.id, a_key(tx, other).key.id}
        revoke(tx, mine[0], compromised=True, by=BY)
        assert revoke_all_of(tx, shop, by=BY) == 2
        assert {key.id for key in list_keys(tx) if key.revoked_ms is None} == kept
        assert {key.id for key in list_keys(tx, subuser_id=shop.id)} == set(mine)
        assert len(list_keys(tx, account_id=acme.id)) == 5
        assert holding_keys(tx) == {mine[0]}
