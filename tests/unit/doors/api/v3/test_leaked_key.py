from __future__ import annotations

import json
from typing import Any

import pytest

from sekisho import notices
from sekisho.apikeys.actions import Issued
from sekisho.apikeys.model import new_text
from sekisho.apikeys.tables import find_key
from sekisho.doors.api.v3 import leaked_key
from sekisho.doors.api.v3.leaked_key import rest_s
from sekisho.doors.http.ratelimit import Pace
from tests.fakes.api import ApiDoor
from tests.fakes.control import a_key, a_subuser, an_account


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaked_key, "STEP_S", 0.000_001)


def two_keys(door: ApiDoor) -> tuple[Issued, Issued]:
    with door.control.begin() as tx:
        acme = an_account(tx)
        return a_key(tx, acme), a_key(tx, a_subuser(tx, acme))


def text_of(key: Issued) -> str:
    return key.text.reveal().decode()


def is_held(door: ApiDoor, key: Issued) -> bool:
    with door.control.connect() as tx:
        found = find_key(tx, key.key.id)
    assert found is not None
    return found.hold is not None


@pytest.mark.parametrize(
    "dress",
    [
        lambda text: {"json": {"api_key": text}},
        lambda text: {"json": [text]},
        lambda text: {
            "json": [{"token": text, "type": "sekisho_api_key", "url": "https://example.com/x", "source": "commit"}]
        },
        lambda text: {"content": text.encode(), "headers": {"content-type": "text/plain"}},
        lambda text: {"content": f"export SENDGRID_API_KEY={text}\nnext".encode()},
    ],
    ids=["object", "list", "scanner", "text", "file"],
)
async def test_the_key_is_held_whatever_the_report_looks_like(door: ApiDoor, dress: Any) -> None:
    mine, other = two_keys(door)
    answer = await door.ask("POST", "/leaked-key", **dress(text_of(other)))
    assert answer.status_code == 202
    assert is_held(door, other)
    assert not is_held(door, mine)
    refused = await door.ask("GET", "/v3/scopes", other)
    assert refused.status_code in {401, 403}
    assert (await door.ask("GET", "/v3/scopes", mine)).status_code == 200


async def test_nobody_learns_whether_a_text_is_a_key(door: ApiDoor) -> None:
    mine, _ = two_keys(door)
    wrong = text_of(mine)[:-1] + ("a" if text_of(mine)[-1] != "a" else "b")
    answers = [
        await door.ask("POST", "/leaked-key", json={"api_key": text})
        for text in (text_of(mine), wrong, new_text().reveal().decode())
    ]
    assert len({(one.status_code, one.content, one.headers["content-type"]) for one in answers}) == 1
    assert text_of(mine) not in answers[0].text


@pytest.mark.parametrize(("passed_s", "rest"), [(0.0, 0.25), (0.01, 0.24), (0.2499, 0.0001), (0.26, 0.24), (1.1, 0.15)])
def test_answers_come_at_the_same_times(passed_s: float, rest: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaked_key, "STEP_S", 0.25)
    assert rest_s(passed_s) == pytest.approx(rest)


@pytest.mark.parametrize("body", [b"", b"{}", b"SG.short", b"\xff" * 10])
async def test_what_has_no_key_in_it_is_said_so(door: ApiDoor, body: bytes) -> None:
    answer = await door.ask("POST", "/leaked-key", content=body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "api_key"


async def test_it_is_bounded_in_size_and_by_address(door: ApiDoor) -> None:
    large = await door.ask("POST", "/leaked-key", content=b"x" * (leaked_key.BODY_MAX_BYTES + 1))
    assert large.status_code == 413
    for _ in range(Pace.PUBLIC.calls - 1):
        assert (await door.ask("POST", "/leaked-key", json={})).status_code == 400
    assert (await door.ask("POST", "/leaked-key", json={})).status_code == 429
    assert (await door.ask("POST", "/leaked-key", json={}, address="198.51.100.9")).status_code == 400


async def test_an_ipv6_customer_is_counted_as_one(door: ApiDoor) -> None:
    for number in range(Pace.PUBLIC.calls):
        assert (await door.ask("POST", "/leaked-key", json={}, address=f"2001:db8::{number}:1")).status_code == 400
    assert (await door.ask("POST", "/leaked-key", json={}, address="2001:db8::ffff:1")).status_code == 429
    assert (await door.ask("POST", "/leaked-key", json={}, address="2001:db8:0:1::1")).status_code == 400


async def test_a_text_that_is_no_key_takes_no_turn_of_those_who_write(
    door: ApiDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_arguments: object, **_options: object) -> None:
        pytest.fail("a write for nothing")

    monkeypatch.setattr(leaked_key, "freeze_reported", nobody)
    answer = await door.ask("POST", "/leaked-key", json={"api_key": new_text().reveal().decode()})
    assert answer.status_code == 202


async def test_the_owner_reads_what_was_told_and_nobody_else(door: ApiDoor) -> None:
    mine, other = two_keys(door)
    with door.control.begin() as tx:
        stranger = a_key(tx, an_account(tx, "stranger"))
    await door.ask("POST", "/leaked-key", content=json.dumps([text_of(other)]).encode(), address="203.0.113.9")
    told = (await door.ask("GET", "/v3/notices", mine)).json()["result"]
    assert [(one["kind"], one["subject"], one["count"], one["mailed_at"]) for one in told] == [
        ("key.held", other.key.id, 1, None)
    ]
    assert "203.0.113.9" in told[0]["text"]
    assert (await door.ask("GET", "/v3/notices", stranger)).json() == {"result": []}
    older = await door.ask("GET", "/v3/notices", mine, params={"before": told[0]["id"], "limit": 1})
    assert older.json() == {"result": []}
    with door.control.connect() as tx:
        assert len(notices.listing(tx, other.key.account_id, limit=9)) == 1
