from __future__ import annotations

from tests.fakes.api import ApiDoor
from tests.fakes.control import a_key, an_account


async def test_a_canary_is_made_like_a_key_and_opens_as_little_as_a_wrong_one(door: ApiDoor) -> None:
    with door.control.begin() as tx:
        key = a_key(tx, an_account(tx))
    made = (await door.ask("POST", "/v3/api_keys", key, json={"name": "in the wiki", "canary": True})).json()
    assert made["state"] == "canary"
    wrong = made["api_key"][:-2] + ("aa" if made["api_key"][-2:] != "aa" else "bb")
    answers = [await door.ask("GET", "/v3/scopes", text) for text in (made["api_key"], wrong)]
    assert [one.status_code for one in answers] == [401, 401]
    assert len({(one.content, tuple(sorted(set(one.headers) - {"x-request-id"}))) for one in answers}) == 1
    listed = (await door.ask("GET", "/v3/api_keys", key)).json()["result"]
    assert {one["name"]: one["state"] for one in listed} == {"a key": "active", "in the wiki": "canary"}
