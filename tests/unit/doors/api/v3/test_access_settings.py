from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
import sqlalchemy as sa

from sekisho import ipaccess
from sekisho.accounts import Account
from sekisho.apikeys.actions import Issued
from sekisho.audit import audit
from sekisho.identity import KeyPolicy
from tests.fakes.api import CLIENT, ApiDoor
from tests.fakes.control import BY, NOW_MS, a_key, a_subuser, an_account

LIST = "/v3/access_settings/whitelist"
ACTIVITY = "/v3/access_settings/activity"
SCOPES = frozenset(
    {
        "access_settings.activity.read",
        *(f"access_settings.whitelist.{verb}" for verb in ("create", "delete", "read", "update")),
    }
)
NOT_FOUND = {"errors": [{"message": "not found", "field": None, "help": None}]}
FORBIDDEN = {"errors": [{"message": "access forbidden", "field": None, "help": None}]}


@pytest.fixture
def acme(door: ApiDoor) -> Account:
    with door.control.begin() as tx:
        return an_account(tx)


@pytest.fixture
def key(door: ApiDoor, acme: Account) -> Issued:
    with door.control.begin() as tx:
        return a_key(tx, acme, scopes=SCOPES)


def entries(*texts: str, **more: Any) -> dict[str, Any]:
    return {"ips": [{"ip": text} for text in texts], **more}


async def allow(door: ApiDoor, key: Issued, *texts: str, **more: Any) -> list[dict[str, Any]]:
    answer = await door.ask("POST", LIST, key, json=entries(*texts), **more)
    assert answer.status_code == 201, answer.text
    found: list[dict[str, Any]] = answer.json()["result"]
    return found


async def listed(door: ApiDoor, key: Issued, **more: Any) -> list[str]:
    answer = await door.ask("GET", LIST, key, **more)
    assert answer.status_code == 200, answer.text
    return [rule["ip"] for rule in answer.json()["result"]]


def lock(door: ApiDoor, owner: Account, *texts: str) -> None:
    """Put a list in force that nobody asked the caller about."""
    with door.control.begin() as tx:
        assert isinstance(ipaccess.add(tx, owner.id, texts, caller=None, confirmed=True, by=BY), tuple)


async def test_the_list_is_open_until_it_has_an_entry(door: ApiDoor, key: Issued) -> None:
    assert await listed(door, key, address="203.0.113.9") == []
    made = await allow(door, key, CLIENT, "198.51.100.14/24", "203.0.*.*", "2001:db8::1")
    assert [rule["ip"] for rule in made] == ["192.0.2.7/32", "198.51.100.0/24", "203.0.0.0/16", "2001:db8::1/128"]
    assert {(rule["created_at"], rule["updated_at"]) for rule in made} == {(NOW_MS // 1000, NOW_MS // 1000)}
    assert (await door.ask("GET", LIST, key)).json() == {"result": made}
    assert (await door.ask("GET", f"{LIST}/{made[1]['id']}", key)).json() == {"result": [made[1]]}
    assert await listed(door, key, address="198.51.100.200")
    assert await listed(door, key, address="2001:db8::1")
    refused = await door.ask("GET", LIST, key, address="198.51.101.1")
    assert (refused.status_code, refused.json()) == (403, FORBIDDEN)


async def test_entries_that_are_there_already_are_answered_and_not_doubled(door: ApiDoor, key: Issued) -> None:
    (first,) = await allow(door, key, CLIENT)
    door.clock.go(60)
    again = await allow(door, key, f"::ffff:{CLIENT}", f"{CLIENT}/32", "192.0.2.8")
    assert again[0] == first
    assert await listed(door, key) == ["192.0.2.7/32", "192.0.2.8/32"]


async def test_deleting_the_last_entry_opens_the_list(door: ApiDoor, key: Issued) -> None:
    one, two, three = await allow(door, key, CLIENT, "198.51.100.1", "198.51.100.2")
    answer = await door.ask("DELETE", LIST, key, json={"ids": [two["id"], three["id"]]})
    assert (answer.status_code, answer.content) == (204, b"")
    assert await listed(door, key) == ["192.0.2.7/32"]
    answer = await door.ask("DELETE", f"{LIST}/{one['id']}", key)
    assert (answer.status_code, answer.content) == (204, b"")
    assert await listed(door, key, address="203.0.113.9") == []


@pytest.mark.parametrize("text", ["", "192.0.2", "0.0.0.0/0", "::/0", "192.0.2.7 or 192.0.2.8", "x" * 5000])
async def test_an_entry_that_is_none_changes_nothing(door: ApiDoor, key: Issued, text: str) -> None:
    answer = await door.ask("POST", LIST, key, json=entries(CLIENT, text))
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["field"] == "ips"
    assert len(error["message"]) < 300
    assert await listed(door, key) == []


@pytest.mark.parametrize(
    ("method", "body", "field"),
    [
        ("POST", {}, "ips"),
        ("POST", {"ips": []}, "ips"),
        ("POST", {"ips": [{}]}, "ips.0.ip"),
        ("POST", {"ips": [{"ip": 3}]}, "ips.0.ip"),
        ("POST", {"ips": [{"ip": "192.0.2.7"}] * 1001}, "ips"),
        ("DELETE", {}, "ids"),
        ("DELETE", {"ids": []}, "ids"),
        ("DELETE", {"ids": ["x"]}, "ids.0"),
        ("DELETE", {"ids": [1] * 1001}, "ids"),
    ],
)
async def test_a_body_that_says_nothing_is_told_where(
    door: ApiDoor, key: Issued, method: str, body: dict[str, object], field: str
) -> None:
    answer = await door.ask(method, LIST, key, json=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field


async def test_a_list_holds_a_thousand(door: ApiDoor, key: Issued) -> None:
    await allow(door, key, CLIENT, *(f"10.0.{number // 250}.{number % 250}" for number in range(999)))
    full = await door.ask("POST", LIST, key, json=entries("10.1.1.1"))
    assert full.status_code == 400
    assert "1000 addresses at most" in full.json()["errors"][0]["message"]
    assert len(await allow(door, key, CLIENT)) == 1  # what is there needs no room


# Whose list it is.


async def test_ids_of_others_are_as_unknown_as_those_that_never_were(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        shop, other = a_subuser(tx, acme), an_account(tx, "other")
        foreign = [a_key(tx, shop, scopes=SCOPES), a_key(tx, other, scopes=SCOPES)]
    (mine,) = await allow(door, key, CLIENT)
    for stranger in foreign:
        assert await listed(door, stranger) == []
        for rule_id in (mine["id"], 1, 0, 2**31, "99999999999", "-1", "x", "1.0", "\N{SUPERSCRIPT TWO}"):
            for method in ("GET", "DELETE"):
                answer = await door.ask(method, f"{LIST}/{rule_id}", stranger)
                assert (answer.status_code, answer.json()) == (404, NOT_FOUND), rule_id
        answer = await door.ask("DELETE", LIST, stranger, json={"ids": [mine["id"]]})
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    assert await listed(door, key) == ["192.0.2.7/32"]


async def test_one_unknown_id_among_good_ones_changes_nothing(door: ApiDoor, key: Issued) -> None:
    one, two = await allow(door, key, CLIENT, "198.51.100.1")
    answer = await door.ask("DELETE", LIST, key, json={"ids": [two["id"], two["id"] + 1, 2**60, -1]})
    assert answer.status_code == 404
    assert [rule["id"] for rule in (await door.ask("GET", LIST, key)).json()["result"]] == [one["id"], two["id"]]


async def test_a_subuser_has_a_list_of_its_own_and_the_parent_keeps_it_on_its_behalf(
    door: ApiDoor, acme: Account, key: Issued
) -> None:
    with door.control.begin() as tx:
        subusers = a_key(tx, a_subuser(tx, acme), scopes=SCOPES)
    # The parent is judged by its own list, which is open: it cannot lock itself out here.
    await allow(door, key, "198.51.100.1", headers={"on-behalf-of": "shop"})
    assert await listed(door, key) == []
    assert await listed(door, key, headers={"on-behalf-of": "shop"}) == ["198.51.100.1/32"]
    assert (await door.ask("GET", LIST, subusers)).status_code == 403
    assert await listed(door, subusers, address="198.51.100.1") == ["198.51.100.1/32"]
    lock(door, acme, "203.0.113.1")
    assert (await door.ask("GET", LIST, key, headers={"on-behalf-of": "shop"})).status_code == 403
    assert await listed(door, subusers, address="198.51.100.1")


# Locking oneself out.


async def test_a_list_without_the_caller_is_refused_and_says_how_to_confirm(door: ApiDoor, key: Issued) -> None:
    answer = await door.ask("POST", LIST, key, json=entries("198.51.100.1"))
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert CLIENT in error["message"]
    assert '"confirm": true' in error["message"]
    assert await listed(door, key) == []


@pytest.mark.parametrize("how", ["body", "query"])
async def test_it_is_made_when_confirmed_and_stays(door: ApiDoor, key: Issued, how: str) -> None:
    body = entries("198.51.100.1", **({"confirm": True} if how == "body" else {}))
    params = {} if how == "body" else {"confirm": "true"}
    assert (await door.ask("POST", LIST, key, json=body, params=params)).status_code == 201
    assert (await door.ask("GET", LIST, key)).status_code == 403
    assert await listed(door, key, address="198.51.100.1") == ["198.51.100.1/32"]
    with door.control.begin() as tx:
        assert ipaccess.roll_back_due(tx, door.clock.now_ms() + 10**9) == 0


@pytest.mark.parametrize("how", ["one", "one, confirmed", "some", "some, confirmed", "some, confirmed by query"])
async def test_taking_the_caller_off_a_list_that_stays_is_the_same(door: ApiDoor, key: Issued, how: str) -> None:
    mine, _ = await allow(door, key, CLIENT, "198.51.100.1")
    params = {"confirm": "true"} if how in {"one, confirmed", "some, confirmed by query"} else {}
    if how.startswith("one"):
        answer = await door.ask("DELETE", f"{LIST}/{mine['id']}", key, params=params)
    else:
        body = {"ids": [mine["id"]], **({"confirm": True} if how == "some, confirmed" else {})}
        answer = await door.ask("DELETE", LIST, key, json=body, params=params)
    assert answer.status_code == (204 if "confirmed" in how else 400)
    assert (await door.ask("GET", LIST, key)).status_code == (403 if "confirmed" in how else 200)


async def test_a_network_around_the_caller_is_no_lock_out(door: ApiDoor, key: Issued) -> None:
    await allow(door, key, "192.0.2.0/29", address="::ffff:192.0.2.7")


# What is refused, and in which order.


async def test_a_wrong_key_is_told_so_from_wherever_it_comes(door: ApiDoor, acme: Account, key: Issued) -> None:
    lock(door, acme, "198.51.100.1")
    text = key.text.reveal().decode()
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    for address in (CLIENT, "198.51.100.1"):
        answer = await door.ask("GET", LIST, wrong, address=address)
        assert (answer.status_code, answer.json()["errors"][0]["message"]) == (401, "authorization required")


async def test_mail_send_says_it_in_the_words_recorded_of_it(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        key = a_key(tx, acme)
    lock(door, acme, "198.51.100.1")
    answer = await door.ask("POST", "/v3/mail/send", key, json={})
    assert answer.status_code == 401
    assert answer.json() == {
        "errors": [{"message": "The requestor's IP Address is not whitelisted", "field": None, "help": None}]
    }
    # Let in, it is the body that is wrong.
    assert (await door.ask("POST", "/v3/mail/send", key, json={}, address="198.51.100.1")).status_code == 400


async def test_the_list_of_the_account_and_that_of_the_key_must_both_agree(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        bound = a_key(tx, acme, KeyPolicy(ips=(ip_network("198.51.100.0/24"),)), scopes=SCOPES)
    assert await listed(door, bound, address="198.51.100.1") == []
    assert (await door.ask("GET", LIST, bound)).status_code == 403
    lock(door, acme, CLIENT, "198.51.100.1")
    assert (await door.ask("GET", LIST, bound)).status_code == 403
    assert (await door.ask("GET", LIST, bound, address="198.51.100.2")).status_code == 403
    assert await listed(door, bound, address="198.51.100.1")


# Who the client is said to be.


@pytest.mark.parametrize(
    ("peer", "said", "status"),
    [
        # From anybody, the header says nothing.
        ("203.0.113.9", ["198.51.100.1"], 403),
        ("203.0.113.9", ["198.51.100.1", "198.51.100.1"], 403),
        ("203.0.113.9", ["198.51.100.1, 10.0.0.1"], 403),
        ("198.51.100.1", ["203.0.113.9"], 200),
        ("::ffff:198.51.100.1", [], 200),
        # From a trusted proxy the last address that is not a proxy's counts, whatever stands left of it.
        ("10.0.0.1", ["198.51.100.1"], 200),
        ("10.0.0.1", ["::ffff:198.51.100.1"], 200),
        ("::ffff:10.0.0.1", ["198.51.100.1"], 200),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], 200),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9"], 403),
        ("10.0.0.1", ["198.51.100.1", "203.0.113.9"], 403),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9, 10.0.0.2"], 403),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1, 10.0.0.2"], 200),
        ("10.0.0.1", ["198.51.100.1, ::ffff:10.0.0.2"], 200),
        # Garbage ends the walk: what is left of it was written by nobody who is trusted.
        ("10.0.0.1", ["198.51.100.1, unknown"], 403),
        ("10.0.0.1", ["198.51.100.1, "], 403),
        ("10.0.0.1", ["198.51.100.1, 010.0.0.2"], 403),
        ("10.0.0.1", ["198.51.100.1, 203.0.113.9.example"], 403),
        ("10.0.0.1", [f"198.51.100.1, {', '.join(['10.0.0.2'] * 40)}"], 403),
        ("10.0.0.1", [], 403),
    ],
)
async def test_a_forwarded_header_opens_nothing(  # noqa: PLR0917
    door: ApiDoor, acme: Account, key: Issued, peer: str, said: list[str], status: int
) -> None:
    door.trusted_proxies = (ip_network("10.0.0.0/8"),)
    lock(door, acme, "198.51.100.1")
    headers = [("x-forwarded-for", value) for value in said]
    answer = await door.ask("GET", LIST, key, address=peer, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize(
    "name", ["forwarded", "x-real-ip", "client-ip", "x-client-ip", "true-client-ip", "x-forwarded"]
)
async def test_other_headers_of_proxies_are_nothing(door: ApiDoor, acme: Account, key: Issued, name: str) -> None:
    door.trusted_proxies = (ip_network("10.0.0.0/8"),)
    lock(door, acme, "198.51.100.1")
    said = "for=198.51.100.1" if name == "forwarded" else "198.51.100.1"
    assert (await door.ask("GET", LIST, key, address="10.0.0.1", headers={name: said})).status_code == 403


# The log of attempts.


async def test_attempts_are_listed_latest_first_one_row_each(door: ApiDoor, acme: Account, key: Issued) -> None:
    lock(door, acme, CLIENT)
    for address in ("203.0.113.9", CLIENT, "::ffff:203.0.113.9", CLIENT):
        await door.ask("GET", LIST, key, address=address)
        door.clock.go(10)
    door.activity.flush()
    answer = await door.ask("GET", ACTIVITY, key)
    began = NOW_MS // 1000
    common = {"auth_method": "API", "location": ""}
    assert answer.json() == {
        "result": [
            {"allowed": True, "ip": CLIENT, "first_at": began + 10, "last_at": began + 30, **common},
            {"allowed": False, "ip": "203.0.113.9", "first_at": began, "last_at": began + 20, **common},
        ]
    }
    one = await door.ask("GET", ACTIVITY, key, params={"limit": 1})
    assert [row["ip"] for row in one.json()["result"]] == [CLIENT]


async def test_twenty_attempts_are_shown_unless_more_are_asked_for(door: ApiDoor, key: Issued) -> None:
    for number in range(25):
        await door.ask("GET", LIST, key, address=f"198.51.100.{number}")
    door.activity.flush()
    assert len((await door.ask("GET", ACTIVITY, key)).json()["result"]) == 20
    assert len((await door.ask("GET", ACTIVITY, key, params={"limit": 1000})).json()["result"]) == 25
    for limit in ("0", "-1", "1001", "x"):
        answer = await door.ask("GET", ACTIVITY, key, params={"limit": limit})
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == "limit"


async def test_nobody_sees_the_attempts_on_others(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        others = a_key(tx, an_account(tx, "other"), scopes=SCOPES)
        shops = a_key(tx, a_subuser(tx, acme), scopes=SCOPES)
    await door.ask("GET", LIST, key, address="198.51.100.1")
    await door.ask("GET", LIST, shops, address="198.51.100.2")
    door.activity.flush()
    assert (await door.ask("GET", ACTIVITY, others)).json() == {"result": []}
    assert [row["ip"] for row in (await door.ask("GET", ACTIVITY, key)).json()["result"]] == ["198.51.100.1"]
    behalf = await door.ask("GET", ACTIVITY, key, headers={"on-behalf-of": "shop"})
    assert [row["ip"] for row in behalf.json()["result"]] == ["198.51.100.2"]


async def test_changes_are_in_the_audit_log_with_who_and_from_where(door: ApiDoor, acme: Account, key: Issued) -> None:
    (rule,) = await allow(door, key, CLIENT)
    await door.ask("DELETE", f"{LIST}/{rule['id']}", key)
    with door.control.connect() as tx:
        query = sa.select(audit).where(audit.c.chain == acme.id, audit.c.action.like("access.%")).order_by(audit.c.id)
        rows = tx.execute(query).all()
    assert [(row.action, row.actor, row.address) for row in rows] == [
        ("access.add", f"key:{key.key.id}", CLIENT),
        ("access.remove", f"key:{key.key.id}", CLIENT),
    ]
    assert rows[0].details == '{"added":["192.0.2.7/32"],"entries":1,"removed":[]}'


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", LIST, "access_settings.whitelist.read"),
        ("GET", f"{LIST}/1", "access_settings.whitelist.read"),
        ("POST", LIST, "access_settings.whitelist.create"),
        ("DELETE", LIST, "access_settings.whitelist.delete"),
        ("DELETE", f"{LIST}/1", "access_settings.whitelist.delete"),
        ("GET", ACTIVITY, "access_settings.activity.read"),
    ],
)
async def test_each_call_needs_its_scope(door: ApiDoor, acme: Account, method: str, path: str, scope: str) -> None:
    with door.control.begin() as tx:
        without = a_key(tx, acme, scopes=SCOPES - {scope})
    answer = await door.ask(method, path, without)
    assert (answer.status_code, answer.json()) == (403, FORBIDDEN)
