from __future__ import annotations

import asyncio
from typing import Any

import pytest
import sqlalchemy as sa

from sekisho.accounts import Account
from sekisho.apikeys import scopes
from sekisho.apikeys.actions import Issued, revoke
from sekisho.apikeys.model import KEYS_MAX, is_our_making
from sekisho.apikeys.tables import api_key, find_key
from sekisho.identity import KeyPolicy
from tests.fakes.api import ApiDoor
from tests.fakes.control import BY, NOW_MS, a_key, a_subuser, an_account, audited

KEYS = "/v3/api_keys"


@pytest.fixture
def acme(door: ApiDoor) -> Account:
    with door.control.begin() as tx:
        return an_account(tx)


@pytest.fixture
def key(door: ApiDoor, acme: Account) -> Issued:
    with door.control.begin() as tx:
        return a_key(tx, acme)


def limited(door: ApiDoor, owner: Account, *given: str, policy: KeyPolicy | None = None) -> Issued:
    with door.control.begin() as tx:
        return a_key(tx, owner, policy or KeyPolicy(), frozenset(given))


async def test_a_key_is_made_shown_once_and_works(door: ApiDoor, key: Issued) -> None:
    answer = await door.ask("POST", KEYS, key, json={"name": "My Key", "scopes": ["mail.send", "api_keys.read"]})
    made = answer.json()
    assert answer.status_code == 201
    assert is_our_making(made["api_key"].encode())
    assert (made["name"], made["scopes"]) == ("My Key", ["api_keys.read", "mail.send"])
    assert made["api_key"].split(".")[1] == made["api_key_id"]
    shown = await door.ask("GET", f"{KEYS}/{made['api_key_id']}", made["api_key"])
    assert shown.status_code == 200
    assert "api_key" not in shown.json()
    assert shown.json()["scopes"] == made["scopes"]
    assert ("key.create", made["api_key_id"]) in audited(door.control)


async def test_without_scopes_it_gets_what_its_maker_may_give(door: ApiDoor, acme: Account, key: Issued) -> None:
    full = (await door.ask("POST", KEYS, key, json={"name": "full"})).json()
    assert frozenset(full["scopes"]) == scopes.FULL_ACCESS
    maker = limited(door, acme, "api_keys.create", "mail.send")
    less = (await door.ask("POST", KEYS, maker, json={"name": "less"})).json()
    assert less["scopes"] == ["api_keys.create", "mail.send"]


@pytest.mark.parametrize(
    "wanted",
    [
        ["mail.send"],
        ["api_keys.create", "api_keys.delete"],
        ["billing.read"],
        ["2fa_required"],
        ["no.such.scope"],
        ["suppressions.read"],
        ["billing.read", "api_keys.create"],
    ],
)
async def test_nobody_grants_what_he_lacks_or_what_cannot_be_granted(
    door: ApiDoor, acme: Account, wanted: list[str]
) -> None:
    maker = limited(door, acme, "api_keys.create", "api_keys.update")
    new = await door.ask("POST", KEYS, maker, json={"name": "x", "scopes": wanted})
    itself = await door.ask("PUT", f"{KEYS}/{maker.key.id}", maker, json={"name": "x", "scopes": wanted})
    for answer in (new, itself):
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["field"]) == (400, "scopes")
        assert error["message"] == "invalid or unassignable scopes were given"
    with door.control.connect() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(api_key)).scalar_one() == 1
        assert find_key(tx, maker.key.id) == maker.key


async def test_a_wrong_scope_comes_with_a_hint(door: ApiDoor, key: Issued) -> None:
    answer = await door.ask("POST", KEYS, key, json={"name": "x", "scopes": ["suppressions.read"]})
    assert "did you mean suppression.read?" in answer.json()["errors"][0]["help"]


async def test_a_maker_with_limits_makes_no_key_with_fewer(door: ApiDoor, acme: Account) -> None:
    maker = limited(door, acme, "api_keys.create", policy=KeyPolicy(from_domains=frozenset({"example.com"})))
    loose = await door.ask("POST", KEYS, maker, json={"name": "x"})
    assert (loose.status_code, loose.json()["errors"][0]["field"]) == (403, "policy")
    body = {"name": "x", "policy": {"from_domains": ["example.com"]}}
    assert (await door.ask("POST", KEYS, maker, json=body)).status_code == 201
    counted = limited(door, acme, "api_keys.create", policy=KeyPolicy(daily=5))
    assert (await door.ask("POST", KEYS, counted, json={"name": "x", "policy": {"daily": 5}})).status_code == 403


async def test_a_policy_is_kept_as_it_was_given(door: ApiDoor, key: Issued) -> None:
    policy = {
        "ips": ["192.0.2.9/24"],
        "from_domains": ["Example.com"],
        "from_addresses": ["News@Example.com"],
        "rate": "10/s",
        "daily": 100,
        "max_recipients": 5,
        "expires_at": NOW_MS // 1000 + 3600,
    }
    made = (await door.ask("POST", KEYS, key, json={"name": "x", "policy": policy})).json()
    kept = policy | {"ips": ["192.0.2.0/24"], "from_domains": ["example.com"], "from_addresses": ["News@example.com"]}
    assert made["policy"] == kept
    path = f"{KEYS}/{made['api_key_id']}"
    renamed = await door.ask("PATCH", path, key, json={"name": "y"})
    replaced = await door.ask("PUT", path, key, json={"name": "z", "scopes": ["mail.send"]})
    assert (renamed.json()["policy"], replaced.json()["policy"]) == (kept, kept)
    less = await door.ask("PATCH", path, key, json={"policy": {"daily": 7}})
    assert (less.json()["policy"]["daily"], less.json()["policy"]["ips"], less.json()["name"]) == (7, [], "z")
    assert ("key.change", made["api_key_id"]) in audited(door.control)


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"ips": ["x"]}, "policy.ips"),
        ({"from_domains": ["-"]}, "policy.from_domains"),
        ({"from_addresses": ["nobody"]}, "policy.from_addresses"),
        ({"rate": "10"}, "policy.rate"),
        ({"daily": 0}, "policy.daily"),
        ({"max_recipients": -1}, "policy.max_recipients"),
        ({"expires_at": 1}, "policy.expires_at"),
        ({"expires_at": 1 << 70}, "policy.expires_at"),
        ({"expires_at": "soon"}, "policy.expires_at"),
        ({"dayly": 5}, "policy.dayly"),
        ({"daily": "5"}, "policy.daily"),
    ],
)
async def test_a_limit_that_is_none_is_refused_never_overlooked(
    door: ApiDoor, key: Issued, policy: dict[str, Any], field: str
) -> None:
    for method, path, body in (("POST", KEYS, {"name": "x"}), ("PATCH", f"{KEYS}/{key.key.id}", {})):
        answer = await door.ask(method, path, key, json=body | {"policy": policy})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "  "}, {"name": 5}, {"name": "a\nb"}, {"name": "x" * 201}])
async def test_a_name_is_required(door: ApiDoor, key: Issued, body: dict[str, Any]) -> None:
    answer = await door.ask("POST", KEYS, key, json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "name")


async def test_a_hundred_are_the_most_however_many_ask_at_once(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        for _ in range(KEYS_MAX - 5):
            a_key(tx, acme)
    answers = await asyncio.gather(*(door.ask("POST", KEYS, key, json={"name": "x"}) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == [201] * 4 + [403] * 8


async def test_keys_are_listed_without_those_revoked(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        gone = a_key(tx, acme)
        revoke(tx, gone.key.id, compromised=False, by=BY)
        a_key(tx, a_subuser(tx, acme))
    found = (await door.ask("GET", KEYS, key)).json()["result"]
    assert [one["api_key_id"] for one in found] == [key.key.id]
    assert found[0]["state"] == "active"
    limited_to = await door.ask("GET", KEYS, key, params={"limit": "1"})
    assert len(limited_to.json()["result"]) == 1


async def test_put_sets_name_and_scopes_and_patch_the_name_alone(door: ApiDoor, acme: Account, key: Issued) -> None:
    other = limited(door, acme, "mail.send")
    path = f"{KEYS}/{other.key.id}"
    put = await door.ask("PUT", path, key, json={"name": "two", "scopes": ["stats.read"]})
    assert (put.status_code, put.json()["name"], put.json()["scopes"]) == (200, "two", ["stats.read"])
    patched = await door.ask("PATCH", path, key, json={"name": "three"})
    assert (patched.json()["name"], patched.json()["scopes"]) == ("three", ["stats.read"])
    assert (await door.ask("GET", "/v3/scopes", other)).json() == {"scopes": ["2fa_required", "stats.read"]}
    none = await door.ask("PUT", path, key, json={"name": "four", "scopes": []})
    assert (none.status_code, none.json()["errors"][0]["field"]) == (400, "scopes")
    assert (await door.ask("PATCH", path, key, json={})).status_code == 400


async def test_a_deleted_key_opens_nothing_and_is_gone(door: ApiDoor, acme: Account, key: Issued) -> None:
    other = limited(door, acme, "api_keys.delete")
    itself = await door.ask("DELETE", f"{KEYS}/{other.key.id}", other)
    assert (itself.status_code, itself.content) == (204, b"")
    assert (await door.ask("GET", "/v3/scopes", other)).status_code == 401
    for method, body in (("GET", None), ("PUT", {"name": "x", "scopes": ["mail.send"]}), ("DELETE", None)):
        assert (await door.ask(method, f"{KEYS}/{other.key.id}", key, json=body)).status_code == 404


async def test_a_parent_manages_the_keys_of_a_subuser_on_its_behalf(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        shop = a_subuser(tx, acme)
    behalf = {"on-behalf-of": "SHOP"}
    made = (await door.ask("POST", KEYS, key, json={"name": "shop's"}, headers=behalf)).json()
    with door.control.connect() as tx:
        found = find_key(tx, made["api_key_id"])
    assert found is not None
    assert (found.account_id, found.subuser_id) == (acme.id, shop.id)
    assert not [scope for scope in made["scopes"] if scope.startswith("subusers.")]
    parents = await door.ask("POST", KEYS, key, json={"name": "x", "scopes": ["subusers.read"]}, headers=behalf)
    assert parents.status_code == 400
    assert (await door.ask("GET", f"{KEYS}/{made['api_key_id']}", key)).status_code == 404
    assert (await door.ask("GET", f"{KEYS}/{made['api_key_id']}", key, headers=behalf)).status_code == 200


async def test_a_compromised_key_ends_and_what_it_can_have_done_is_told(
    door: ApiDoor, acme: Account, key: Issued
) -> None:
    other = limited(door, acme, "mail.send")
    answer = await door.ask("POST", f"{KEYS}/{other.key.id}/compromise", key)
    radius = answer.json()
    assert (answer.status_code, radius["revoked_at"]) == (200, NOW_MS // 1000)
    assert (radius["queued"], radius["queued_recipients"], radius["addresses"]) == ([], 0, [])
    assert radius["sent"] == {"messages": 0, "delivered": 0, "deferred": 0, "bounced": 0, "dropped": 0}
    assert (await door.ask("GET", "/v3/scopes", other)).status_code == 401
    again = await door.ask("POST", f"{KEYS}/{other.key.id}/compromise", key)
    assert again.json()["revoked_at"] == radius["revoked_at"]
    let_go = await door.ask("POST", f"{KEYS}/{other.key.id}/compromise/release", key)
    assert let_go.json() == {"api_key_id": other.key.id, "state": "compromised"}
    assert (await door.ask("GET", "/v3/scopes", other)).status_code == 401


async def test_the_mail_of_a_compromised_key_is_purged_and_of_no_other(
    door: ApiDoor, acme: Account, key: Issued
) -> None:
    other = limited(door, acme, "mail.send")
    path = f"{KEYS}/{other.key.id}/compromise"
    assert (await door.ask("POST", f"{path}/purge", key)).status_code == 409
    assert door.purged == []
    await door.ask("POST", path, key)
    assert (await door.ask("POST", f"{path}/purge", key)).json() == {"purged": 7, "remaining": 0}
    assert [key_id for key_id, _ in door.purged] == [other.key.id]
    assert ("key.purge", other.key.id) in audited(door.control)


async def test_a_held_key_opens_nothing_until_it_is_released(door: ApiDoor, acme: Account, key: Issued) -> None:
    other = limited(door, acme, "mail.send", "api_keys.delete")
    held = await door.ask("POST", f"{KEYS}/{other.key.id}/hold", key)
    assert (held.json()["state"], held.json()["held_reason"]) == ("held", "held by request")
    refused = await door.ask("GET", "/v3/scopes", other)
    assert refused.status_code == 403
    assert "its owner can release it" in refused.json()["errors"][0]["message"]
    itself = await door.ask("POST", f"{KEYS}/{other.key.id}/compromise/release", other)
    assert itself.status_code == 403
    released = await door.ask("POST", f"{KEYS}/{other.key.id}/compromise/release", key)
    assert released.json()["state"] == "active"
    assert (await door.ask("GET", "/v3/scopes", other)).status_code == 200


PLACES = (
    ("GET", "", None),
    ("PUT", "", {"name": "x", "scopes": ["mail.send"]}),
    ("PATCH", "", {"name": "x"}),
    ("DELETE", "", None),
    ("POST", "/compromise", None),
    ("POST", "/compromise/release", None),
    ("POST", "/compromise/purge", None),
    ("POST", "/hold", None),
)


@pytest.mark.parametrize(("method", "path", "body"), PLACES)
async def test_somebody_elses_key_is_as_unknown_as_none(  # noqa: PLR0917
    door: ApiDoor, acme: Account, key: Issued, method: str, path: str, body: dict[str, Any] | None
) -> None:
    with door.control.begin() as tx:
        strangers = a_key(tx, an_account(tx, "other"))
        shop, news = a_subuser(tx, acme, "shop"), a_subuser(tx, acme, "news")
        shops, newss = a_key(tx, shop), a_key(tx, news)
    nobody = await door.ask(method, f"{KEYS}/{'x' * 22}{path}", key, json=body)
    assert nobody.status_code == 404
    for theirs, asking in ((strangers, key), (newss, shops), (key, shops), (key, strangers)):
        answer = await door.ask(method, f"{KEYS}/{theirs.key.id}{path}", asking, json=body)
        assert (answer.status_code, answer.content) == (404, nobody.content)
        with door.control.connect() as tx:
            assert find_key(tx, theirs.key.id) == theirs.key


async def test_a_parent_may_end_a_compromised_key_of_any_of_its_subusers(
    door: ApiDoor, acme: Account, key: Issued
) -> None:
    with door.control.begin() as tx:
        shops = a_key(tx, a_subuser(tx, acme))
    assert (await door.ask("POST", f"{KEYS}/{shops.key.id}/compromise", key)).status_code == 200
    assert (await door.ask("GET", "/v3/scopes", shops)).status_code == 401
