"""Every call of the Web API in the order of a working day, for whichever official client makes it."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from sekisho import teammates
from sekisho.accounts import find_account
from sekisho.db import Database
from sekisho.doors.api.routes import ROUTES
from sekisho.refusal import Declined
from tests.fakes.control import BY
from tests.fakes.people import a_teammate, an_owner

Document = Any

MAIL: Final = {
    "personalizations": [{"to": [{"email": "reader@sink.test"}]}],
    "from": {"email": "ann@example.test", "name": "Ann"},
    "subject": "Hello",
    "content": [{"type": "text/plain", "value": "Hi."}],
}


@dataclass(frozen=True)
class Answer:
    """What a client makes of an answer."""

    status: int
    body: Document
    headers: Mapping[str, str]

    @property
    def message(self) -> str:
        """The first error's text."""
        return str(self.body["errors"][0]["message"])


class Client(Protocol):
    """One of the official clients."""

    def ask(
        self,
        method: str,
        path: str,
        body: Document = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Make one call; errors are answers too."""


@dataclass
class Day:
    """Calls that must succeed, and which routes they were of."""

    client: Client
    used: set[tuple[str, str]] = field(default_factory=set)

    def done(self, method: str, path: str, body: Document = None, **query: str) -> Document:
        answer = self.client.ask(method, path, body, query or None)
        assert answer.status < 300, (method, path, answer)
        assert answer.headers["x-request-id"]
        assert int(answer.headers["x-ratelimit-remaining"]) >= 0
        self.used |= {
            place for place in ROUTES if place[0] == method and re.fullmatch(re.sub(r"{\w+}", r"[^/]+", place[1]), path)
        }
        return answer.body


def a_day(client: Client) -> None:
    """Use every route; a new one that nobody calls here fails."""
    day = Day(client)
    keys_and_lists(day)
    teammates_of(day)
    subusers(day)
    refusals(client)
    wanted = {place for place, route in ROUTES.items() if not route.public}
    assert sorted(wanted - day.used) == []


def keys_and_lists(day: Day) -> None:
    done = day.done
    assert "mail.send" in done("GET", "/v3/scopes")["scopes"]
    done("POST", "/v3/mail/send", MAIL)

    made = done("POST", "/v3/api_keys", {"name": "My key", "scopes": ["mail.send", "stats.read"]})
    assert re.fullmatch(r"SG\.[\w-]{22}\.[\w-]{43}", made["api_key"])
    one = f"/v3/api_keys/{made['api_key_id']}"
    assert made["api_key_id"] in [key["api_key_id"] for key in done("GET", "/v3/api_keys", limit="50")["result"]]
    assert done("GET", one)["scopes"] == ["mail.send", "stats.read"]
    assert done("PUT", one, {"name": "Two", "scopes": ["stats.read"]})["scopes"] == ["stats.read"]
    assert done("PATCH", one, {"name": "Three"})["name"] == "Three"
    assert done("POST", f"{one}/hold")["state"] == "held"
    assert done("POST", f"{one}/compromise/release")["state"] == "active"
    assert done("POST", f"{one}/compromise")["queued_recipients"] == 0
    assert done("POST", f"{one}/compromise/purge")["remaining"] == 0
    spare = done("POST", "/v3/api_keys", {"name": "Spare", "scopes": ["stats.read"]})
    done("DELETE", f"/v3/api_keys/{spare['api_key_id']}")

    rules = done("POST", "/v3/access_settings/whitelist", {"ips": [{"ip": "127.0.0.0/8"}, {"ip": "192.0.2.7"}]})
    first, second = (rule["id"] for rule in rules["result"])
    assert done("GET", f"/v3/access_settings/whitelist/{second}")["result"][0]["ip"] == "192.0.2.7/32"
    assert len(done("GET", "/v3/access_settings/whitelist")["result"]) == 2
    done("DELETE", f"/v3/access_settings/whitelist/{second}")
    done("DELETE", "/v3/access_settings/whitelist", {"ids": [first]})
    done("GET", "/v3/access_settings/activity", limit="5")
    assert done("GET", "/v3/audit_log", limit="5")["result"]
    done("GET", "/v3/audit_log/export")
    done("GET", "/v3/notices")
    assert done("GET", "/v3/user/account")["type"] == "paid"
    done("GET", "/v3/user/credits")
    for what, change in (("email", {"email": "o2@example.test"}), ("username", {"username": "acme-owner"})):
        done("GET", f"/v3/user/{what}")
        done("PUT", f"/v3/user/{what}", change)
    done("PATCH", "/v3/user/profile", {"city": "Edo"})
    assert done("GET", "/v3/user/profile")["city"] == "Edo"


def seat(data: Path) -> None:
    """Let somebody be there before the server starts: no API makes people, whoever is invited comes by himself."""
    with closing(Database(data / "control.db")) as database, database.begin() as tx:
        acme = find_account(tx, "acme")
        assert acme is not None
        an_owner(tx, acme)
        tim = a_teammate(tx, acme, "tim")
        for group in ("Templates", "Alerts"):
            assert not isinstance(teammates.ask(tx, acme, tim, group, by=BY), Declined)


def teammates_of(day: Day) -> None:
    done = day.done
    wanted = {"email": "new@example.test", "scopes": ["stats.read"], "is_admin": False}
    token = done("POST", "/v3/teammates", wanted)["token"]
    assert [one["token"] for one in done("GET", "/v3/teammates/pending")["result"]] == [token]
    assert done("POST", f"/v3/teammates/pending/{token}/resend")["email"] == "new@example.test"
    done("DELETE", f"/v3/teammates/pending/{token}")
    assert "tim" in [one["username"] for one in done("GET", "/v3/teammates", limit="10")["result"]]
    first, second = (one["id"] for one in done("GET", "/v3/scopes/requests", limit="10"))
    assert done("PATCH", f"/v3/scopes/requests/{first}/approve") == {"scope_group_name": "Templates"}
    done("DELETE", f"/v3/scopes/requests/{second}")
    assert "templates.read" in done("GET", "/v3/teammates/tim")["scopes"]
    assert not done("GET", "/v3/teammates/tim/subuser_access")["has_restricted_subuser_access"]
    assert done("PATCH", "/v3/teammates/tim", {"scopes": [], "is_admin": True})["user_type"] == "admin"
    done("DELETE", "/v3/teammates/tim")


def subusers(day: Day) -> None:
    done = day.done
    made = done(
        "POST",
        "/v3/subusers",
        {
            "username": "shop",
            "email": "shop@example.test",
            "password": "correct horse battery staple",
            "ips": ["192.0.2.1"],
        },
    )
    assert made["username"] == "shop"
    assert [one["username"] for one in done("GET", "/v3/subusers", limit="10")] == ["shop"]
    recurring = {"type": "recurring", "reset_frequency": "daily", "total": 10}
    assert done("PUT", "/v3/subusers/shop/credits", recurring)["remain"] == 10
    assert done("PATCH", "/v3/subusers/shop/credits/remaining", {"allocation_update": 5})["remain"] == 15
    assert done("GET", "/v3/subusers/shop/credits")["type"] == "recurring"
    today = dt.datetime.now(dt.UTC).date().isoformat()
    done("GET", "/v3/subusers/reputations", usernames="shop")
    done("GET", "/v3/subusers/stats", subusers="shop", start_date=today)
    done("GET", "/v3/subusers/stats/monthly", date=today)
    done("GET", "/v3/subusers/stats/sums", start_date=today)
    done("GET", "/v3/subusers/shop/stats/monthly", date=today)
    behalf = day.client.ask("POST", "/v3/api_keys", {"name": "Shop's"}, headers={"on-behalf-of": "shop"})
    assert behalf.status == 201
    assert [one for one in behalf.body["scopes"] if one.startswith("subusers.")] == []
    done("PATCH", "/v3/subusers/shop/website_access", {"disabled": True})
    done("PATCH", "/v3/subusers/shop", {"disabled": True})
    done("DELETE", "/v3/subusers/shop")


def refusals(client: Client) -> None:
    """What goes wrong arrives as the client's own error, with the vendor's texts."""
    for method, path, body, status, message in (
        ("GET", f"/v3/api_keys/{'A' * 22}", None, 404, "not found"),
        ("POST", "/v3/api_keys", {"name": 5}, 400, "Invalid type. Expected: string, given: integer."),
        ("GET", "/v3/nothing", None, 404, "not found"),
        ("GET", "/v3/teammates/nobody", None, 404, "username not found"),
        ("PUT", "/v3/scopes", {}, 405, "method not allowed"),
        ("POST", "/v3/mail/send", MAIL | {"from": {"email": "x@elsewhere.test"}}, 403, "The from address does not"),
    ):
        answer = client.ask(method, path, body)
        assert (answer.status, answer.message.startswith(message)) == (status, True), answer
    foreign = client.ask("GET", "/v3/api_keys", headers={"on-behalf-of": "nobody"})
    assert (foreign.status, foreign.message) == (403, "access forbidden")
