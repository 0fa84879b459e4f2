"""Our answers against the vendor's own OpenAPI documents: types, and that nothing is missing that they name."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import sqlalchemy as sa
from jsonschema import Draft202012Validator

from sekisho.accounts import Account, account_by_id, list_subusers
from sekisho.apikeys.actions import Issued
from sekisho.domains.tables import domain
from sekisho.doors.api.routes import ROUTES
from sekisho.teammates import Grant, Permission
from tests.fakes.api import ApiDoor
from tests.fakes.control import a_domain, a_key, an_account
from tests.fakes.databases import Engine
from tests.fakes.people import a_restricted_teammate, an_admin, an_owner
from tests.unit.doors.api.examples import DOCUMENT, UNKNOWN, arguments, fill

pytestmark = pytest.mark.parametrize("engine", [Engine.SQLITE])

Place = tuple[str, str]

FILES: Final = Path(__file__).parents[3] / "vectors" / "sendgrid-oai"

ONE_KEY: Final = ("GET", "/v3/api_keys/{api_key_id}")

FLAWS: Final[dict[tuple[str, str], str]] = {
    ("*", "nullable"): "a word of OpenAPI 3.0 in documents of 3.1, where it means nothing; it is meant",
    ("*", "errors.help"): "said to be an object; the vendor's answers, and its texts about them, have a link or null",
    ("GET /v3/api_keys/{api_key_id}", "result"): "wrapped in result[]; the service and all clients have it flat",
    (
        "GET /v3/teammates/{teammate_name}/subuser_access",
        "_metadata.next_params.after_subuser_id",
    ): "an integer; null at the end, as its own description says",
    ("GET /v3/user/credits", "remain"): "an integer; null where nothing limits it, as in a subuser's credits",
    ("GET /v3/user/credits", "total"): "the same",
    ("GET /v3/user/credits", "used"): "the same",
    ("GET /v3/user/credits", "last_reset"): "a string; null where nothing is ever reset",
    ("GET /v3/user/credits", "next_reset"): "the same",
    ("GET /v3/user/credits", "reset_frequency"): "the same",
}
"""Where the documents are wrong and we deviate: (route, what) → why. None of these may be there for nothing."""

VENDORS: Final[dict[Place, dict[str, Any]]] = {}
"""Of each of the vendor's routes the document that it stands in."""

for _file in sorted(FILES.glob("*.json")):
    _document = json.loads(_file.read_text())
    for _path, _methods in _document["paths"].items():
        VENDORS.update(
            ((_method.upper(), _path), _document)
            for _method in _methods
            if _method in {"get", "post", "put", "patch", "delete"}
        )

SHARED: Final = sorted(VENDORS.keys() & ROUTES.keys())


def meant(node: Any) -> Any:
    """The vendor's schema with the first two flaws taken out."""
    if isinstance(node, list):
        return [meant(one) for one in node]
    if not isinstance(node, dict):
        return node
    found = {name: meant(one) for name, one in node.items() if name != "nullable"}
    if node.get("nullable") is True:
        found = {"anyOf": [found, {"type": "null"}]}
    help_ = found.get("properties", {}).get("help") if isinstance(found.get("properties"), dict) else None
    if isinstance(help_, dict) and help_.get("type") == "object":
        found["properties"]["help"] = {"type": ["string", "null"]}
    return found


MEANT: Final = {id(document): meant(document) for document in VENDORS.values()}


def resolve(document: Any, node: Any) -> Any:
    while isinstance(node, dict) and "$ref" in node:
        found = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        node = found
    return node


def schema_of(place: Place, status: int) -> tuple[Any, Any] | None:
    """(document, schema) of an answer; None when the vendor's document says nothing of its body."""
    document = MEANT[id(VENDORS[place])]
    method, path = place
    answer = resolve(document, document["paths"][path][method.lower()]["responses"].get(str(status)))
    schema = (answer or {}).get("content", {}).get("application/json", {}).get("schema")
    return None if schema is None else (document, schema)


def missing(document: Any, schema: Any, value: Any, place: str = "") -> Iterator[str]:
    """Properties that the vendor names and the answer does not have."""
    schema = resolve(document, schema)
    if "anyOf" in schema:
        schema = resolve(document, schema["anyOf"][0])
    if isinstance(value, list):
        for one in value:
            yield from missing(document, schema.get("items", {}), one, place)
    elif isinstance(value, dict):
        for name, kind in schema.get("properties", {}).items():
            if name not in value:
                yield f"{place}{name}"
            else:
                yield from missing(document, kind, value[name], f"{place}{name}.")


def faults(place: Place, status: int, body: Any) -> set[str]:
    """What of an answer the vendor's document does not allow, or names and does not find."""
    found = schema_of(place, status)
    if found is None:
        return set()
    document, schema = found
    wrong = {
        ".".join(part for part in error.absolute_path if isinstance(part, str))
        for error in Draft202012Validator({**document, "allOf": [schema]}).iter_errors(body)
    }
    # What errors have is there "when applicable".
    return wrong | (set(missing(document, schema, body)) if status < 300 else set())


def test_the_documents_are_read_as_they_are_meant(engine: Engine) -> None:
    assert len(SHARED) > 25, engine
    assert faults(("GET", "/v3/scopes"), 200, {"scopes": ["mail.send"]}) == set()
    assert faults(("GET", "/v3/scopes"), 200, {"scopes": [5]}) == {"scopes"}
    assert faults(("GET", "/v3/scopes"), 200, {}) == {"scopes", ""}
    assert faults(("GET", "/v3/api_keys"), 200, {"result": [{"name": "x"}]}) == {"result.api_key_id"}


@pytest.fixture
def acme(door: ApiDoor) -> Account:
    with door.control.begin() as tx:
        made = an_account(tx)
        claim = a_domain(tx, made)
        tx.execute(sa.update(domain).where(domain.c.id == claim.id).values(valid=True))
        return made


@pytest.fixture
def key(door: ApiDoor, acme: Account) -> Issued:
    with door.control.begin() as tx:
        return a_key(tx, acme)


class Clerk:
    """Makes requests, and keeps account of what the vendor's documents say to the answers."""

    def __init__(self, door: ApiDoor, key: Issued) -> None:
        self.door = door
        self.key = key
        self.ids = dict(UNKNOWN)
        self.seen: set[tuple[Place, int]] = set()
        self.faults: set[tuple[str, str]] = set()

    async def ask(self, place: Place, **changes: Any) -> httpx.Response:
        self.door.clock.go(60)
        method, path = place
        answer = await self.door.ask(method, fill(path, self.ids), self.key, **(arguments(place) | changes))
        self.seen.add((place, answer.status_code))
        if place in VENDORS and answer.content:
            body = answer.json()
            found = faults(place, answer.status_code, body)
            self.faults |= {(f"{method} {path}", fault) for fault in found}
        return answer


async def test_answers_are_what_the_vendors_documents_say(door: ApiDoor, key: Issued) -> None:
    clerk = Clerk(door, key)
    # Unknown ids first, then wrong bodies, then everything in the order in which a client would.
    for place in SHARED:
        if "{" in place[1]:
            answer = await clerk.ask(place)
            assert answer.status_code == 404, place
        if "requestBody" in DOCUMENT["paths"][place[1]][place[0].lower()]:
            assert (await clerk.ask(place, json={})).status_code == 400, place
    await go_through(clerk)
    succeeded = {place for place, status in clerk.seen if status < 300}
    assert sorted(set(SHARED) - succeeded) == []
    # Neither a deviation without a reason, nor a reason without one.
    assert clerk.faults == {flaw for flaw in FLAWS if flaw[0] != "*"}


async def people(clerk: Clerk, done: Callable[..., Awaitable[Any]]) -> None:
    """Use the routes of teammates."""
    invited = await done(("POST", "/v3/teammates"))
    clerk.ids["token"] = invited["token"]
    await done(("GET", "/v3/teammates/pending"))
    await done(("POST", "/v3/teammates/pending/{token}/resend"))
    await done(("DELETE", "/v3/teammates/pending/{token}"))
    with clerk.door.control.begin() as tx:
        tenant = account_by_id(tx, clerk.key.key.account_id)
        assert tenant is not None
        an_owner(tx, tenant)
        admin = an_admin(tx, tenant)
        (made,) = list_subusers(tx, tenant.id)
        rita = a_restricted_teammate(tx, tenant, {made: Grant(Permission.RESTRICTED, frozenset({"stats.read"}))})
    access = ("GET", "/v3/teammates/{teammate_name}/subuser_access")
    for person in (admin, rita):
        clerk.ids |= {"teammate_name": person.username, "username": person.username}
        assert (await done(access))["subuser_access"]
        await done(("GET", "/v3/teammates/{username}"))
    await done(("GET", "/v3/teammates"))
    await done(("PATCH", "/v3/teammates/{username}"))
    await done(("DELETE", "/v3/teammates/{username}"))


async def go_through(clerk: Clerk) -> None:
    """Use every route that the vendor has too, with things that are there."""

    async def done(place: Place, **changes: Any) -> Any:
        answer = await clerk.ask(place, **changes)
        assert answer.status_code < 300, (place, answer.text)
        return answer.json() if answer.content else None

    made = await done(("POST", "/v3/api_keys"))
    clerk.ids["api_key_id"] = made["api_key_id"]
    for method in ("GET", "PUT", "PATCH"):
        await done((method, ONE_KEY[1]))
    await done(("GET", "/v3/api_keys"))
    await done(("GET", "/v3/scopes"))
    await done(("DELETE", ONE_KEY[1]))

    await done(("POST", "/v3/mail/send"))

    rules = await done(("POST", "/v3/access_settings/whitelist"))
    clerk.ids["rule_id"] = str(rules["result"][0]["id"])
    clerk.door.activity.flush(everything=True)
    await done(("GET", "/v3/access_settings/activity"))
    await done(("GET", "/v3/access_settings/whitelist"))
    await done(("GET", "/v3/access_settings/whitelist/{rule_id}"))
    await done(("DELETE", "/v3/access_settings/whitelist/{rule_id}"))
    again = await done(("POST", "/v3/access_settings/whitelist"))
    await done(("DELETE", "/v3/access_settings/whitelist"), json={"ids": [again["result"][0]["id"]]})

    new_subuser = arguments(("POST", "/v3/subusers"))["json"]
    await done(("POST", "/v3/subusers"), json=new_subuser | {"include_region": True})
    clerk.ids["subuser_name"] = "made"
    await done(("GET", "/v3/subusers"), params={"include_region": "true"})
    subuser = "/v3/subusers/{subuser_name}"
    credit = f"{subuser}/credits"
    await done(("GET", credit))
    await done(("PUT", credit), json={"type": "recurring", "total": 5, "reset_frequency": "daily"})
    await done(("PATCH", f"{credit}/remaining"))
    await done(("PUT", credit))
    await done(("GET", f"{subuser}/stats/monthly"))
    await done(("GET", "/v3/subusers/reputations"))
    await done(("GET", "/v3/subusers/stats"), params={"start_date": "2026-11-01", "subusers": "made"})
    await done(("GET", "/v3/subusers/stats/monthly"))
    await done(("GET", "/v3/subusers/stats/sums"))
    await done(("PATCH", subuser))
    await done(("PATCH", f"{subuser}/website_access"))
    await people(clerk, done)
    await done(("DELETE", subuser))
    await done(("GET", "/v3/user/account"))
    await done(("GET", "/v3/user/credits"))
    for method, path in (("PUT", "email"), ("PUT", "username"), ("PATCH", "profile")):
        await done((method, f"/v3/user/{path}"))
        await done(("GET", f"/v3/user/{path}"))
