from __future__ import annotations

from sekisho.audit.chain import verify
from sekisho.audit.export import read_lines
from sekisho.audit.reading import heads
from tests.fakes.api import ApiDoor
from tests.fakes.control import a_key, a_subuser, an_account

READ = frozenset({"access_settings.activity.read"})


async def test_the_owner_reads_the_log_newest_first(door: ApiDoor) -> None:
    with door.control.begin() as tx:
        acme = an_account(tx)
        key = a_key(tx, acme, scopes=READ)
        a_key(tx, an_account(tx, "other"))
    answer = await door.ask("GET", "/v3/audit_log", key)
    found = answer.json()["result"]
    assert [(one["seq"], one["action"]) for one in found] == [(2, "key.create"), (1, "account.create")]
    assert (found[0]["actor"], found[0]["subject"]) == ("operator:test", key.key.id)
    older = await door.ask("GET", "/v3/audit_log", key, params={"before": 2, "limit": 5})
    assert [one["action"] for one in older.json()["result"]] == ["account.create"]
    named = await door.ask("GET", "/v3/audit_log", key, params={"action": "key.create"})
    assert [one["seq"] for one in named.json()["result"]] == [2]


async def test_a_subuser_reads_its_own_and_the_parent_on_its_behalf(door: ApiDoor) -> None:
    with door.control.begin() as tx:
        acme = an_account(tx)
        shop = a_subuser(tx, acme)
        parents, subusers = a_key(tx, acme, scopes=READ), a_key(tx, shop, scopes=READ)
    mine = (await door.ask("GET", "/v3/audit_log", subusers)).json()
    assert [one["action"] for one in mine["result"]] == ["key.create", "subuser.create"]
    assert (await door.ask("GET", "/v3/audit_log", parents, headers={"on-behalf-of": "shop"})).json() == mine
    assert (await door.ask("GET", "/v3/audit_log", parents)).json() != mine


async def test_an_export_can_be_verified_by_anybody(door: ApiDoor) -> None:
    with door.control.begin() as tx:
        acme = an_account(tx)
        key = a_key(tx, acme, scopes=READ)
        for _ in range(3):
            a_key(tx, acme)
    answer = await door.ask("GET", "/v3/audit_log/export", key)
    assert answer.headers["content-type"] == "application/x-ndjson"
    chain, links = read_lines(answer.content.splitlines())
    with door.control.connect() as tx:
        known = heads(tx)
    assert chain == acme.id
    assert list(verify(chain, links, known)) == []


async def test_a_key_without_the_scope_reads_nothing(door: ApiDoor) -> None:
    with door.control.begin() as tx:
        key = a_key(tx, an_account(tx), scopes=frozenset({"mail.send"}))
    for path in ("/v3/audit_log", "/v3/audit_log/export"):
        assert (await door.ask("GET", path, key)).status_code == 403


async def test_a_limit_that_is_none_is_named(door: ApiDoor) -> None:
    with door.control.begin() as tx:
        key = a_key(tx, an_account(tx), scopes=READ)
    for limit in ("0", "501", "x"):
        answer = await door.ask("GET", "/v3/audit_log", key, params={"limit": limit})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, "limit")
