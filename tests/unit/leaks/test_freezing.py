from __future__ import annotations

from sekisho import notices
from sekisho.apikeys.actions import revoke
from sekisho.apikeys.model import HoldReason, new_text
from sekisho.apikeys.tables import find_key
from sekisho.audit import By
from sekisho.db import Database
from sekisho.leaks.freezing import freeze_reported, keys_in_force
from tests.fakes.control import BY, NOW_MS, a_key, a_subuser, an_account, audited

REPORT = By("system:leaked-key", NOW_MS + 5, "203.0.113.9")


def test_exactly_the_key_that_was_reported_is_held_and_its_owner_told(control: Database) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        shop = a_subuser(tx, acme)
        leaked, other = a_key(tx, shop), a_key(tx, shop)
        assert freeze_reported(tx, [leaked.text.reveal(), new_text().reveal()], by=REPORT) == 1
        held, free = find_key(tx, leaked.key.id), find_key(tx, other.key.id)
        told = [notices.listing(tx, owner, limit=9) for owner in (acme.id, shop.id)]
    assert held is not None
    assert held.hold is not None
    assert (held.hold.since_ms, held.hold.reason) == (REPORT.at_ms, HoldReason.LEAK)
    assert free is not None
    assert free.hold is None
    for one in told:
        assert [(each.kind, each.subject) for each in one] == [("key.held", leaked.key.id)]
        assert "203.0.113.9" in one[0].text
        assert leaked.text.reveal().decode() not in one[0].text
    assert audited(control).count(("key.hold", leaked.key.id)) == 1


def test_a_text_that_is_wrong_revoked_or_nobodys_holds_nothing(control: Database) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        key, revoked = a_key(tx, acme), a_key(tx, acme)
        revoke(tx, revoked.key.id, compromised=False, by=BY)
        wrong = key.text.reveal()[:-1] + (b"a" if key.text.reveal()[-1:] != b"a" else b"b")
        texts = [wrong, revoked.text.reveal(), new_text().reveal(), b"no key"]
        assert keys_in_force(tx, texts) == ()
        assert freeze_reported(tx, texts, by=REPORT) == 0
        assert notices.listing(tx, acme.id, limit=9) == ()


def test_reported_again_it_is_held_once_and_told_once(control: Database) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        key = a_key(tx, acme)
        for _ in range(3):
            assert freeze_reported(tx, [key.text.reveal()], by=REPORT) == 1
        told = notices.listing(tx, acme.id, limit=9)
    assert [one.count for one in told] == [3]
    assert audited(control).count(("key.hold", key.key.id)) == 1
