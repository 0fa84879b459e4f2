from __future__ import annotations

from sekisho.accounts import find_subuser, stopped_senders
from sekisho.apikeys.tables import list_keys
from sekisho.db import Database
from sekisho.domains.actions import assign, override
from sekisho.domains.reading import list_claims
from sekisho.policy.closing import delete_subuser
from tests.fakes.control import BY, RELAY, a_domain, a_key, a_subuser, an_account, audited


def test_a_deleted_subuser_takes_its_keys_and_domains_with_it_and_nobody_elses(control: Database) -> None:
    with control.begin() as tx:
        acme = an_account(tx)
        shop, other = a_subuser(tx, acme, "shop"), a_subuser(tx, acme, "other")
        a_key(tx, shop)
        kept = {a_key(tx, acme).key.id, a_key(tx, other).key.id}
        own = a_domain(tx, shop, "own.example")
        override(tx, own, relay=RELAY, by=BY)
        lent = a_domain(tx, acme, "lent.example")
        assign(tx, lent, shop, by=BY)
        delete_subuser(tx, shop, relay=RELAY, by=BY)
        assert find_subuser(tx, "shop") is None
        assert stopped_senders(tx).deleted == {shop.id}
        assert {key.id for key in list_keys(tx) if key.revoked_ms is None} == kept
        assert [claim.name for claim in list_claims(tx, RELAY)] == ["lent.example"]
        # What it had is free: another account may prove the domain, another subuser have the name.
        override(tx, a_domain(tx, an_account(tx, "elsewhere"), "own.example"), relay=RELAY, by=BY)
        a_subuser(tx, acme, "shop")
    actions = [action for action, _ in audited(control)]
    assert [action for action in actions if action in {"key.revoke", "domain.remove", "subuser.delete"}] == [
        "key.revoke",
        "domain.remove",
        "subuser.delete",
    ]
