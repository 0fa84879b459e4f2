from __future__ import annotations

import pytest
import sqlalchemy as sa

from sekisho.changes import ChangeKind
from sekisho.db import Database
from sekisho.domains import Domain, Relay
from sekisho.domains.actions import (
    Checked,
    add,
    assign,
    make_keys,
    override,
    record_check,
    remove,
    remove_all_of,
    sealed_row,
)
from sekisho.domains.reading import assigned_to, find_claim, list_claims, read_claim
from sekisho.domains.tables import domain_key, domain_record
from sekisho.domains.verify import Sight
from sekisho.refusal import Declined, Obstacle
from sekisho.wire.dkim import keys
from tests.fakes.control import (
    BY,
    NOW_MS,
    RELAY,
    SEALER,
    a_domain,
    a_subuser,
    an_account,
    audited,
    changes_in,
    sights,
)


@pytest.fixture
def database(control: Database) -> Database:
    return control


def checked(tx: sa.Connection, claim: Domain, **but: Sight) -> Checked:
    found = record_check(tx, claim.id, sights(claim, but=but), relay=RELAY, by=BY)
    assert isinstance(found, Checked)
    return found


def test_a_claim_has_its_six_records(database: Database) -> None:
    with database.begin() as tx:
        claim = a_domain(tx, an_account(tx))
    assert (claim.name, claim.valid, claim.checked_ms) == ("example.com", False, None)
    records = {record.name.value: record for record in claim.records}
    assert list(records) == ["dkim1", "dkim2", "dkim_ed25519", "dkim_ed25519_2", "mail_server", "subdomain_spf"]
    assert not any(record.seen for record in claim.records)
    suffix = records["dkim1"].host.removeprefix("sk1-").removesuffix("._domainkey.example.com")
    assert len(suffix) == 4
    assert records["dkim2"].host == f"sk2-{suffix}._domainkey.example.com"
    assert records["dkim_ed25519"].host == f"ske1-{suffix}._domainkey.example.com"
    assert records["dkim_ed25519_2"].host == f"ske2-{suffix}._domainkey.example.com"
    assert records["dkim1"].data.startswith("v=DKIM1; k=rsa; p=MIIBIjAN")  # 2048 bits
    assert records["dkim_ed25519_2"].data.startswith("v=DKIM1; k=ed25519; p=")
    assert records["mail_server"].host == records["subdomain_spf"].host == claim.return_path
    assert claim.return_path.endswith(".example.com")
    assert (records["mail_server"].type, records["mail_server"].data) == ("mx", "relay.example.net")
    assert records["subdomain_spf"].data == "v=spf1 a:relay.example.net -all"


def test_the_private_keys_are_sealed_for_their_rows_and_are_those_that_are_published(database: Database) -> None:
    with database.begin() as tx:
        claim = a_domain(tx, an_account(tx))
        rows = tx.execute(sa.select(domain_key)).all()
    published = {record.name.value: record.data for record in claim.records}
    assert sorted((row.record, row.active) for row in rows) == [
        ("dkim1", True),
        ("dkim2", False),
        ("dkim_ed25519", True),
        ("dkim_ed25519_2", False),
    ]
    for row in rows:
        opened = SEALER.open(row.sealed, purpose="dkim key", row=sealed_row(claim.id, row.record))
        assert keys.txt_record(keys.load(opened.reveal())) == published[row.record]


def test_new_keys_are_four_different_ones_and_do_not_show_themselves() -> None:
    new = make_keys()
    assert len({keys.txt_record(key) for _, key in new.keys}) == 4
    assert repr(new) == "NewKeys(…)"


@pytest.mark.parametrize(
    ("text", "name"),
    [("Example.COM", "example.com"), ("example.com.", "example.com"), ("Bücher.example", "xn--bcher-kva.example")],
)
def test_a_name_is_kept_in_one_spelling(database: Database, text: str, name: str) -> None:
    with database.begin() as tx:
        claim = a_domain(tx, an_account(tx), text)
        assert claim.name == name
        assert find_claim(tx, text, None, RELAY) == claim


@pytest.mark.parametrize(
    "text", ["", "com", "localhost", "192.0.2.1", "a@example.com", "*.example.com", "x." * 100 + "com"]
)
def test_what_is_nobodys_domain_is_not_claimed(database: Database, text: str) -> None:
    with database.begin() as tx:
        made = add(tx, an_account(tx), text, make_keys(), relay=RELAY, sealer=SEALER, by=BY)
    assert isinstance(made, Declined)
    assert made.obstacle is Obstacle.DOMAIN_MALFORMED


def test_an_account_claims_a_name_once_and_others_may_as_well(database: Database) -> None:
    with database.begin() as tx:
        acme, other = an_account(tx, "acme"), an_account(tx, "other")
        first = a_domain(tx, acme)
        again = add(tx, a_subuser(tx, acme), "EXAMPLE.com", make_keys(), relay=RELAY, sealer=SEALER, by=BY)
        assert isinstance(again, Declined)
        assert again.obstacle is Obstacle.DOMAIN_TAKEN
        second = a_domain(tx, other)
        assert not {record.host for record in first.records} & {record.host for record in second.records}
        unclear = find_claim(tx, "example.com", None, RELAY)
        assert isinstance(unclear, Declined)
        assert unclear.obstacle is Obstacle.DOMAIN_AMBIGUOUS
        assert find_claim(tx, "example.com", other.id, RELAY) == second
        unknown = find_claim(tx, "example.org", None, RELAY)
        assert isinstance(unknown, Declined)
        assert unknown.obstacle is Obstacle.DOMAIN_UNKNOWN


def test_proof_makes_a_domain_valid(database: Database) -> None:
    with database.begin() as tx:
        claim = a_domain(tx, an_account(tx))
        after = checked(tx, claim).domain
        assert (after.valid, after.overridden, after.checked_ms) == (True, False, NOW_MS)
        assert all(record.seen for record in after.records)


def test_the_return_path_is_not_needed_for_that_and_is_told_apart(database: Database) -> None:
    with database.begin() as tx:
        after = checked(
            tx, a_domain(tx, an_account(tx)), mail_server=Sight.MISSING, subdomain_spf=Sight.DIFFERENT
        ).domain
    assert after.valid
    assert [record.name.value for record in after.records if not record.seen] == ["mail_server", "subdomain_spf"]


def test_a_disproof_takes_it_back_and_no_answer_does_not(database: Database) -> None:
    with database.begin() as tx:
        claim = checked(tx, a_domain(tx, an_account(tx))).domain
        unknown = checked(tx, claim, **dict.fromkeys(["dkim1", "dkim2", "mail_server"], Sight.UNKNOWN)).domain
        assert unknown.valid
        assert all(record.seen for record in unknown.records)
        gone = checked(tx, claim, dkim_ed25519_2=Sight.MISSING).domain
        assert not gone.valid
        assert [record.name.value for record in gone.records if not record.seen] == ["dkim_ed25519_2"]
        # Not asked to the end: not proven.
        assert not checked(tx, gone, dkim1=Sight.UNKNOWN).domain.valid


def test_the_first_valid_proof_wins_until_it_is_given_up(database: Database) -> None:
    with database.begin() as tx:
        first, second = a_domain(tx, an_account(tx, "acme")), a_domain(tx, an_account(tx, "other"))
        assert checked(tx, second).domain.valid
        late = checked(tx, first)
        assert late.valid_elsewhere
        assert not late.domain.valid
        declined = override(tx, first, relay=RELAY, by=BY)
        assert isinstance(declined, Declined)
        assert declined.obstacle is Obstacle.DOMAIN_TAKEN
        remove(tx, second, by=BY)
        assert checked(tx, first).domain.valid


def test_the_database_itself_holds_a_domain_valid_once(database: Database) -> None:
    with database.begin() as tx:
        for name in ("acme", "other"):
            a_domain(tx, an_account(tx, name))
    with pytest.raises(sa.exc.IntegrityError), database.begin() as tx:
        tx.exec_driver_sql("UPDATE domain SET valid = true")


def test_an_override_is_the_operators_word_and_no_proof_of_the_return_path(database: Database) -> None:
    with database.begin() as tx:
        after = override(tx, a_domain(tx, an_account(tx)), relay=RELAY, by=BY)
        assert isinstance(after, Domain)
        assert (after.valid, after.overridden) == (True, True)
        assert not any(record.seen for record in after.records)
        # DNS that knows nothing of it does not take it back; DNS that proves it makes it a proven one.
        still = checked(tx, after, dkim1=Sight.MISSING).domain
        assert (still.valid, still.overridden) == (True, True)
        proven = checked(tx, after).domain
        assert (proven.valid, proven.overridden) == (True, False)
        again = override(tx, proven, relay=RELAY, by=BY)
        assert again == proven
    assert audited(database).count(("domain.override", "example.com")) == 2


def test_records_follow_the_configuration_and_what_was_seen_for_another_counts_for_nothing(database: Database) -> None:
    moved = Relay("other.example.net")
    with database.begin() as tx:
        claim = checked(tx, a_domain(tx, an_account(tx))).domain
        after = read_claim(tx, claim.id, moved)
    assert after is not None
    assert {record.name.value: record.data for record in after.records}["mail_server"] == "other.example.net"
    assert [record.name.value for record in after.records if not record.seen] == ["mail_server", "subdomain_spf"]
    assert after.valid


def test_a_domain_is_lent_to_own_subusers_up_to_five_each(database: Database) -> None:
    with database.begin() as tx:
        acme, other = an_account(tx, "acme"), an_account(tx, "other")
        shop, theirs = a_subuser(tx, acme, "shop"), a_subuser(tx, other, "theirs")
        claims = [a_domain(tx, acme, f"d{number}.example") for number in range(6)]
        for claim in claims[:5]:
            assert assign(tx, claim, shop, by=BY) is None
        assert assign(tx, claims[0], shop, by=BY) is None
        assert assigned_to(tx, claims[0].id) == (shop.id,)
        more = assign(tx, claims[5], shop, by=BY)
        foreign = assign(tx, claims[5], theirs, by=BY)
        own = assign(tx, a_domain(tx, shop, "own.example"), a_subuser(tx, acme, "third"), by=BY)
    assert [declined.obstacle for declined in (more, foreign, own) if declined is not None] == [
        Obstacle.ASSIGNMENTS_TOO_MANY,
        Obstacle.SUBUSER_UNKNOWN,
        Obstacle.DOMAIN_TAKEN,
    ]


def test_a_removed_domain_leaves_nothing_behind(database: Database) -> None:
    with database.begin() as tx:
        acme = an_account(tx)
        shop = a_subuser(tx, acme)
        claim = a_domain(tx, acme)
        assign(tx, claim, shop, by=BY)
        remove(tx, claim, by=BY)
        assert list_claims(tx, RELAY) == ()
        assert assigned_to(tx, claim.id) == ()
        for table in (domain_key, domain_record):
            assert tx.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() == 0
        gone = record_check(tx, claim.id, sights(claim), relay=RELAY, by=BY)
        assert isinstance(gone, Declined)
        assert a_domain(tx, acme).id != claim.id


def test_a_subusers_own_go_and_what_it_borrowed_stays_with_the_lender(database: Database) -> None:
    with database.begin() as tx:
        acme = an_account(tx)
        shop = a_subuser(tx, acme)
        a_domain(tx, shop, "own.example")
        lent = a_domain(tx, acme, "lent.example")
        assign(tx, lent, shop, by=BY)
        assert remove_all_of(tx, shop, relay=RELAY, by=BY) == 1
        assert list_claims(tx, RELAY) == (lent,)
        assert assigned_to(tx, lent.id) == ()
    assert {change.subject for change in changes_in(database)[-2:]} == {"own.example", "lent.example"}


def test_every_change_is_audited_and_told(database: Database) -> None:
    with database.begin() as tx:
        acme = an_account(tx)
        claim = a_domain(tx, acme)
        checked(tx, claim)
        assign(tx, claim, a_subuser(tx, acme), by=BY)
        override(tx, claim, relay=RELAY, by=BY)
        remove(tx, claim, by=BY)
    done = [action for action, subject in audited(database) if subject == "example.com"]
    assert done == ["domain.add", "domain.verify", "domain.assign", "domain.override", "domain.remove"]
    told = [change for change in changes_in(database) if change.kind is ChangeKind.DOMAIN_CHANGED]
    assert [(change.account_id, change.subject) for change in told] == [(acme.id, "example.com")] * 5


def test_claims_are_listed_by_name_and_by_account(database: Database) -> None:
    with database.begin() as tx:
        acme, other = an_account(tx, "acme"), an_account(tx, "other")
        b, a, c = (
            a_domain(tx, acme, "b.example"),
            a_domain(tx, other, "a.example"),
            a_domain(tx, a_subuser(tx, acme), "c.example"),
        )
        assert list_claims(tx, RELAY) == (a, b, c)
        assert list_claims(tx, RELAY, acme.id) == (b, c)
