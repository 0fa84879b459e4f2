"""The door as somebody would try it who means no good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any, Final

import httpx
import pytest
import sqlalchemy as sa

from sekisho import ipaccess
from sekisho.accounts import Account
from sekisho.apikeys.actions import Issued, revoke
from sekisho.apikeys.model import new_text
from sekisho.doors.api.app import BODY_MAX_BYTES
from sekisho.doors.api.routes import ROUTES
from sekisho.doors.http.ratelimit import Pace
from tests.fakes.api import CLIENT, ApiDoor
from tests.fakes.control import BY, a_key, a_subuser, an_account
from tests.fakes.databases import Engine
from tests.unit.doors.api.examples import BODY_TAKEN, arguments, everything, fill

SCOPES: Final = "/v3/scopes"
STRANGER: Final = "203.0.113.9"

one_engine = pytest.mark.parametrize("engine", [Engine.SQLITE])
"""For what no database has a part in."""


@pytest.fixture
def acme(door: ApiDoor) -> Account:
    with door.control.begin() as tx:
        return an_account(tx)


@pytest.fixture
def key(door: ApiDoor, acme: Account) -> Issued:
    with door.control.begin() as tx:
        return a_key(tx, acme)


def is_vendors_error(answer: httpx.Response) -> bool:
    """Whether an error has the vendor's shape, and says nothing of what is inside."""
    body = answer.json()
    items = body["errors"]
    return (
        answer.headers["content-type"] == "application/json"
        and body.keys() == {"errors"}
        and all(item.keys() == {"message", "field", "help"} for item in items)
        and not any(word in answer.text for word in ("Traceback", "litestar", "msgspec", "sqlalchemy", ".py"))
    )


# Where from.


@one_engine
async def test_a_forged_address_opens_nothing(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        ipaccess.add(tx, acme.id, [f"{CLIENT}/32"], caller=None, confirmed=True, by=BY)
    for name in ("x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "cf-connecting-ip", "x-client-ip"):
        value = f"for={CLIENT}" if name == "forwarded" else CLIENT
        answer = await door.ask("GET", SCOPES, key, headers={name: value}, address=STRANGER)
        assert answer.status_code == 403, name
    door.trusted_proxies = (ip_network("203.0.113.0/24"),)
    forwarded = {"x-forwarded-for": CLIENT}
    assert (await door.ask("GET", SCOPES, key, headers=forwarded, address=STRANGER)).status_code == 200
    # The leftmost entries are the client's own invention.
    forged = {"x-forwarded-for": f"{CLIENT}, 198.51.100.1"}
    assert (await door.ask("GET", SCOPES, key, headers=forged, address=STRANGER)).status_code == 403


@one_engine
async def test_guessing_ends_soon_whatever_the_headers_say(door: ApiDoor, key: Issued) -> None:
    wrong = new_text().reveal().decode()
    for number in range(Pace.FAILED_LOGIN.calls):
        forged = {"x-forwarded-for": f"198.51.100.{number}"}
        assert (await door.ask("GET", SCOPES, wrong, headers=forged)).status_code == 401
    for credentials in (wrong, key, None):
        over = await door.ask("GET", SCOPES, credentials)
        assert (over.status_code, over.json()["errors"][0]["message"]) == (429, "too many requests")
        assert int(over.headers["retry-after"]) > 0
    assert (await door.ask("GET", SCOPES, key, address=STRANGER)).status_code == 200
    # A key that worked of late goes on: whoever guesses behind the same proxy locks nobody out.
    assert (await door.ask("GET", SCOPES, key)).status_code == 200
    assert (await door.ask("GET", SCOPES, wrong)).status_code == 429
    door.clock.go(Pace.FAILED_LOGIN.window_s)
    assert (await door.ask("GET", SCOPES, wrong)).status_code == 401


@one_engine
async def test_no_answer_tells_whether_a_key_exists(door: ApiDoor, acme: Account) -> None:
    with door.control.begin() as tx:
        there, gone = a_key(tx, acme), a_key(tx, acme)
        revoke(tx, gone.key.id, compromised=False, by=BY)
    never = new_text().reveal().decode()
    secret = never.rpartition(".")[2]
    tried = (
        never,
        f"SG.{there.key.id}.{secret}",
        gone.text.reveal().decode(),
        f"SG.{gone.key.id}.{secret}",
        "SG.x.y",
        "x",
    )
    for place in (("GET", SCOPES), ("POST", "/v3/mail/send")):
        told = set()
        for text in tried:
            door.clock.go(60)
            answer = await door.ask(*place, text, **arguments(place))
            headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
            told.add((answer.status_code, answer.content, json.dumps(headers)))
        assert len(told) == 1


@one_engine
async def test_no_answer_takes_other_work_than_another(door: ApiDoor, acme: Account) -> None:
    """The same statements for an id that is unknown, a wrong secret, and a key that was revoked."""
    with door.control.begin() as tx:
        there, gone = a_key(tx, acme), a_key(tx, acme)
        revoke(tx, gone.key.id, compromised=False, by=BY)
    secret = new_text().reveal().decode().rpartition(".")[2]
    door.catch_up()
    done: list[str] = []

    def note(*event: Any) -> None:
        done.append(event[2])

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        worked = []
        for text in (new_text().reveal().decode(), f"SG.{there.key.id}.{secret}", f"SG.{gone.key.id}.{secret}"):
            done.clear()
            assert (await door.ask("GET", SCOPES, text)).status_code == 401
            worked.append(tuple(done))
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert worked[0]
    assert len(set(worked)) == 1


# What for.


HOSTILE: Final[tuple[bytes, ...]] = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"{}",
    b'"x"',
    b"0",
    b"NaN",
    b"[" * 500_000,
    b'{"name":' * 60_000 + b"1" + b"}" * 60_000,
    b'{"name": "x"} trailing',
    b'\xef\xbb\xbf{"name": "x"}',
    '{"name": "x"}'.encode("utf-16"),
    b'{"name": "\xff\xfe"}',
    b'{"name": "\\ud800"}',
    b'{"name": 1e999999}',
    b'{"name": ' + b"9" * 5000 + b"}",
    b"\0" * 1000,
)


@one_engine
async def test_odd_bodies_are_the_clients_fault_at_every_route(door: ApiDoor, key: Issued) -> None:
    before = everything(door.control)
    for method, path in sorted(place for place in BODY_TAKEN if not ROUTES[place].public):
        for body in HOSTILE:
            door.clock.go(60)
            answer = await door.ask(method, fill(path), key, content=body, headers={"content-type": "application/json"})
            assert answer.status_code in {400, 404, 413}, (method, path, body[:20])
            assert is_vendors_error(answer)
    assert everything(door.control) == before


@one_engine
async def test_of_a_name_that_stands_twice_the_last_counts_for_everybody(door: ApiDoor, key: Issued) -> None:
    """What is checked is what is done: the body is never read by two rules."""
    with door.control.begin() as tx:
        weak = a_key(tx, an_account(tx, "other"), scopes=frozenset(("api_keys.create", "stats.read")))
    body = b'{"name": "x", "scopes": ["stats.read"], "scopes": ["mail.send"]}'
    answer = await door.ask("POST", "/v3/api_keys", weak, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    answer = await door.ask("POST", "/v3/api_keys", key, content=body, headers={"content-type": "application/json"})
    assert answer.json()["scopes"] == ["mail.send"]


@one_engine
async def test_a_body_beyond_the_bound_is_too_large(door: ApiDoor, key: Issued) -> None:
    async def endless() -> Any:
        for _ in range(BODY_MAX_BYTES // 65_536 + 1):
            yield b" " * 65_536

    headers = {"content-type": "application/json"}
    for content in (b" " * (BODY_MAX_BYTES + 1), endless()):
        answer = await door.ask("POST", "/v3/api_keys", key, content=content, headers=headers)
        assert (answer.status_code, answer.json()["errors"][0]["message"]) == (413, "content too large")


@one_engine
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonx",
        "application/json; charset=utf-16",
        "",
    ],
)
async def test_a_body_that_does_not_say_it_is_json_is_not_read(door: ApiDoor, key: Issued, content_type: str) -> None:
    for place in sorted(BODY_TAKEN):
        if ROUTES[place].public:
            continue
        method, path = place
        body = json.dumps(arguments(place)["json"]).encode()
        answer = await door.ask(method, fill(path), key, content=body, headers={"content-type": content_type})
        assert (answer.status_code, is_vendors_error(answer)) == (415, True), place


@one_engine
@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("text/html", 406),
        ("image/*, text/html;q=0.9", 406),
        ("application/json;q=0", 406),
        ("application/json;q=0.000, */*", 406),
        ("application/json; q=0.001", 200),
        ("text/html, */*;q=0.1", 200),
        ("application/*", 200),
        ("APPLICATION/JSON", 200),
        ("", 200),
        ("x" * 10_000, 406),
        ("," * 5000, 406),
    ],
)
async def test_who_takes_no_json_gets_none(door: ApiDoor, key: Issued, accept: str, status: int) -> None:
    answer = await door.ask("GET", SCOPES, key, headers={"accept": accept})
    assert answer.status_code == status
    assert status == 200 or is_vendors_error(answer)
    # Nothing is told before the key is known.
    assert (await door.ask("GET", SCOPES, headers={"accept": accept})).status_code == 401


@one_engine
async def test_a_refused_answer_changes_nothing(door: ApiDoor, key: Issued) -> None:
    before = everything(door.control)
    for place in sorted(place for place, route in ROUTES.items() if not route.public and place[0] != "GET"):
        door.clock.go(60)
        answer = await door.ask(place[0], fill(place[1]), key, headers={"accept": "image/png"}, **arguments(place))
        assert answer.status_code == (202 if answer.headers["content-type"] == "text/plain" else 406), place
    assert everything(door.control) == before


# How.


@one_engine
async def test_the_method_is_the_one_of_the_request_line(door: ApiDoor, key: Issued, acme: Account) -> None:
    with door.control.begin() as tx:
        other = a_key(tx, acme)
    path = f"/v3/api_keys/{other.key.id}"
    for name in ("x-http-method-override", "x-http-method", "x-method-override"):
        answer = await door.ask("GET", path, key, headers={name: "DELETE"}, params={"_method": "DELETE"})
        assert answer.status_code == 200
    assert (await door.ask("GET", SCOPES, other)).status_code == 200
    for method in ("POST", "TRACE", "HEAD", "PROPFIND"):
        answer = await door.ask(method, path, key)
        assert answer.status_code in {404, 405}, method
        assert method == "HEAD" or is_vendors_error(answer)


@one_engine
async def test_no_site_is_let_in_by_a_browser(door: ApiDoor, key: Issued) -> None:
    """A page somewhere can neither ask beforehand nor read an answer: there are no CORS headers at all."""
    origin = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    for method, path in sorted(ROUTES):
        door.clock.go(60)
        asked = await door.ask("OPTIONS", fill(path), headers=origin)
        assert (asked.status_code, asked.content) == (204, b"")
        for answer in (asked, await door.ask(method, fill(path), key, headers=origin)):
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert answer.headers["x-content-type-options"] == "nosniff"


@one_engine
@pytest.mark.parametrize(
    "path",
    [
        "//v3/scopes",
        "/v3//scopes",
        "/v3/./scopes",
        "/v3/x/../scopes",
        "/v3/%2e%2e/v3/scopes",
        "/v3/%2e/scopes",
        "/v3/scopes/",
        "/v3/scopes%2f",
        "/V3/SCOPES",
        "/v3/scopes%00",
        "/v3/scopes;x=1",
        "/v3/scopes%3f",
        "/v3/scopes%0d%0aX-Evil:%201",
        "/v3/%F0%9F%90%88",
        "/v3/%ff",
        "/v3/" + "a" * 8000,
        "/v3/" + "x/" * 3000,
    ],
)
async def test_there_is_no_way_around(door: ApiDoor, key: Issued, path: str) -> None:
    without = await door.ask("GET", path)
    assert without.status_code in {401, 404}
    assert is_vendors_error(without)
    answer = await door.ask("GET", path, key)
    assert answer.status_code in {200, 404}
    assert "x-evil" not in answer.headers
    if answer.status_code == 200:
        assert answer.json().keys() == {"scopes"}


def ids(text: str) -> dict[str, str]:
    names = ("api_key_id", "request_id", "rule_id", "subuser_name", "teammate_name", "token", "username")
    return dict.fromkeys(names, text)


def queries() -> Iterator[tuple[str, str]]:
    """(path, parameter): every query parameter of every GET."""
    for method, path in sorted(ROUTES):
        place = method, path
        if method == "GET" and not ROUTES[place].public:
            for name in ("username", "action", "limit", "before", "offset", "usernames", "subuser", "sort_by_metric"):
                yield path, name


@pytest.mark.parametrize(
    "text", ["%00", "a%00b", "%0d%0aX-Evil:%201", "%ff%fe", "%ed%a0%80", "'%22;--", "-1", str(1 << 70)]
)
async def test_odd_characters_in_addresses_are_characters(door: ApiDoor, acme: Account, key: Issued, text: str) -> None:
    with door.control.begin() as tx:
        a_subuser(tx, acme)
    for place in sorted(place for place in ROUTES if "{" in place[1]):
        door.clock.go(60)
        answer = await door.ask(place[0], fill(place[1], ids(text)), key, **arguments(place))
        assert answer.status_code in {400, 404}, place
        assert is_vendors_error(answer)
        assert "x-evil" not in answer.headers
    for path, name in queries():
        door.clock.go(60)
        known = "&".join(f"{one}={value}" for one, value in arguments(("GET", path))["params"].items())
        answer = await door.ask("GET", f"{fill(path, ids('shop'))}?{known}&{name}={text}", key)
        assert answer.status_code in {200, 400, 404}, (path, name)
        assert answer.status_code == 200 or is_vendors_error(answer)


ODD: Final[tuple[Any, ...]] = (
    "\0",
    "a\0b",
    "\r\nX-Evil: 1",
    "\ud83d",
    1 << 70,
    -(1 << 70),
    1 << 40,
    True,
    None,
    [],
    [[]],
    {},
)


async def test_odd_characters_in_bodies_are_characters(door: ApiDoor, key: Issued) -> None:
    for place in sorted(BODY_TAKEN):
        if ROUTES[place].public:
            continue
        body = arguments(place)["json"]
        for name, value in body.items():
            for odd in ODD:
                door.clock.go(60)
                wrong = [odd] if isinstance(value, list) and not isinstance(odd, list) else odd
                answer = await door.ask(
                    place[0],
                    fill(place[1]),
                    key,
                    content=json.dumps(body | {name: wrong}).encode(),
                    headers={"content-type": "application/json"},
                )
                assert answer.status_code < 500, (place, name, odd, answer.text)
                assert answer.status_code < 300 or is_vendors_error(answer)


@one_engine
async def test_on_behalf_of_is_one_plain_name(door: ApiDoor, acme: Account, key: Issued) -> None:
    with door.control.begin() as tx:
        a_subuser(tx, acme)
    for value in ("shop\tx", "shop,shop", "account-id 1", "*", "%73hop", "x" * 5000):
        headers = [("on-behalf-of", value)]
        answer = await door.ask("GET", "/v3/api_keys", key, headers=headers)
        assert (answer.status_code, is_vendors_error(answer)) == (403, True), value
    twice = [("on-behalf-of", "shop"), ("on-behalf-of", "nobody")]
    assert (await door.ask("GET", "/v3/api_keys", key, headers=twice)).status_code == 403


@one_engine
async def test_two_authorizations_are_none(door: ApiDoor, key: Issued) -> None:
    text = key.text.reveal().decode()
    fields = [("authorization", f"Bearer {text}"), ("authorization", "Bearer x")]
    statuses = {(await door.ask("GET", SCOPES, headers=order)).status_code for order in (fields, fields[::-1])}
    assert statuses == {401}
