"""A person's way through a real server: set-up, second factor, log-in, a key, a forgotten password, a lost phone."""

from __future__ import annotations

import contextlib
import email
import email.policy
import html
import json
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
import pyotp
import pytest

from tests.acceptance.relay import Document, Relay, eventually, letter, run

DEV: Final = ("dev", "--smtp-port", "0", "--smtps-port", "0", "--http-port", "0", "--json", "--data")
OWNER: Final = "dev@example.test"
STRANGER: Final = "nobody@example.test"
FIRST: Final = "correct horse battery staple"
SECOND: Final = "seven quiet lanterns over water"
STEP_S: Final = 30
STEP_UP_MS: Final = 600_000


class Browser:
    """A person's: keeps cookies, goes where it is led, sends a form with the token that the page has."""

    def __init__(self, origin: str) -> None:
        self._client: Final = httpx.Client(base_url=origin, follow_redirects=True, timeout=60)
        self.page = httpx.Response(200)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def open(self, path: str) -> None:
        self.page = self._client.get(path)

    def send(self, path: str, fields: Mapping[str, str] | None = None) -> None:
        """Send the form of the page that goes to ``path``: its hidden fields, and what is typed."""
        form = re.search(rf'<form method="post" action="{re.escape(path)}".*?</form>', self.page.text, re.DOTALL)
        assert form, f"no form to {path} at {self.path}: {self.page.text}"
        hidden = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', form[0])
        given = {name: html.unescape(value) for name, value in hidden}
        assert "csrf" in given
        self.page = self._client.post(path, data=given | dict(fields or {}))

    @property
    def path(self) -> str:
        return self.page.url.path

    @property
    def heading(self) -> str:
        return self.one(r"<h1>(.*?)</h1>")

    def one(self, pattern: str) -> str:
        """The one group of the first match, as text."""
        found = re.search(pattern, self.page.text, re.DOTALL)
        assert found, f"no {pattern} at {self.path}: {self.page.text}"
        return html.unescape(found[1]).strip()

    def at(self, path: str, status: int = 200) -> None:
        """Insist on where it is."""
        assert (self.path, self.page.status_code) == (path, status), self.page.text


class Owner:
    """The person: knows a password, has a phone with an app and a sheet of recovery codes."""

    def __init__(self) -> None:
        self.password = FIRST
        self._app = pyotp.TOTP(pyotp.random_base32())
        self._last_step = 0
        self._codes: list[str] = []

    def enrol(self, browser: Browser) -> None:
        """Set up the app, keep the recovery codes, and go on to the first page."""
        browser.at("/enrol")
        browser.send("/enrol/app")
        browser.at("/enrol/app")
        self._app = pyotp.TOTP(browser.one(r'id="secret">([^<]*)<').replace(" ", ""))
        self._last_step = 0
        browser.send("/enrol/app/code", {"code": self.code()})
        self._codes = re.findall(r"<li><code>([^<]+)</code></li>", browser.page.text)
        assert len(self._codes) == 10, browser.page.text
        browser.open("/")
        browser.at("/")

    def code(self) -> str:
        """A code of the app that was not used yet: the next one, too, is taken, so that nobody must wait."""
        self._last_step = max(self._last_step + 1, int(time.time()) // STEP_S)
        return self._app.at(self._last_step * STEP_S)

    def recovery_code(self) -> str:
        return self._codes.pop()

    def say_password(self, browser: Browser) -> None:
        browser.at("/login", browser.page.status_code)
        browser.send("/login", {"name": OWNER, "password": self.password})


class Place:
    """A server of its own, and what its operator sees of it."""

    def __init__(self, relay: Relay, data: Path) -> None:
        self.relay = relay
        self.data = data

    @property
    def origin(self) -> str:
        origin: str = self.relay.ready["http"]
        return origin

    def run(self, *arguments: str) -> Document:
        return json.loads(run(*arguments, "--data", self.data, "--json").stdout)

    def captured(self, to: str, subject: str) -> list[Document]:
        rows = self.run("captured", "list")["captured"]
        return [row for row in rows if (row["recipient"], row["subject"]) == (to, subject)]

    def link(self, to: str, subject: str) -> str:
        """The link in a letter, once it has come."""
        row = eventually(lambda: self.captured(to, subject), f"a letter to {to}")[0]
        content = self.run("captured", "show", str(row["number"]))["content"]
        message = email.message_from_string(content, policy=email.policy.default)
        body = message.get_body(("plain",))
        assert body is not None
        found = re.search(rf"{re.escape(self.origin)}(/\S+)", body.get_content())
        assert found, content
        return found[1]

    def age_step_up(self) -> None:
        """Have ten minutes go by since anybody showed a second factor."""
        with contextlib.closing(sqlite3.connect(self.data / "control.db", timeout=60)) as database, database:
            database.execute("UPDATE session SET stepped_up_ms = stepped_up_ms - ?", (STEP_UP_MS,))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with Relay(*DEV, tmp_path / "data", logs=tmp_path / "logs") as relay:
        yield Place(relay, tmp_path / "data")


@pytest.fixture
def browser(place: Place) -> Iterator[Browser]:
    with Browser(place.origin) as browser:
        yield browser


def set_up(place: Place, browser: Browser) -> Owner:
    """Use the link that a first start shows."""
    owner = Owner()
    path = place.relay.ready["setup_url"].removeprefix(place.origin)
    browser.open(path)
    browser.send(path, {"password": owner.password})
    owner.enrol(browser)
    return owner


def test_an_owner_sets_up_logs_in_and_sends_with_a_key_of_his_own(place: Place, browser: Browser) -> None:
    link = place.relay.ready["setup_url"].removeprefix(place.origin)
    owner = set_up(place, browser)

    browser.send("/logout")
    browser.at("/login")
    browser.open(link)  # it was good once
    browser.at(link, 404)

    browser.open("/keys")
    owner.say_password(browser)
    browser.at("/login/second")
    browser.send("/login/second", {"code": owner.code()})
    browser.at("/keys")

    # A key matters: the second factor is asked for again when it was shown too long ago, and the form goes on after.
    browser.open("/keys/new")
    place.age_step_up()
    browser.send("/keys", {"name": "Shop", "access": "send"})
    assert browser.page.status_code == 403
    browser.send("/step-up", {"code": owner.recovery_code()})
    browser.at("/keys")
    key = browser.one(r'<input id="key-text"[^>]* value="([^"]*)"')
    assert key.startswith("SG.")

    message_id = place.relay.send(key, letter(1))
    eventually(
        lambda: [row for row in place.run("captured", "list")["captured"] if row["message_id"] == message_id],
        "the message sent with the key",
    )


def test_a_forgotten_password_leaves_the_second_factor_and_a_lost_one_is_the_operators_to_reset(
    place: Place, browser: Browser
) -> None:
    owner = set_up(place, browser)
    answers = []
    with Browser(place.origin) as forgetful:
        for asked in (STRANGER, OWNER):
            forgetful.open("/reset")
            forgetful.send("/reset", {"email": asked})
            answers.append((forgetful.page.status_code, forgetful.one(r"<main.*?>(.*)</main>").replace(asked, "…")))
        assert answers[0] == answers[1]
        assert answers[0][0] == 200

        link = place.link(OWNER, "Choose a new password")
        assert place.captured(STRANGER, "Choose a new password") == []
        forgetful.open(link)
        forgetful.send(link, {"password": SECOND})
        forgetful.open("/keys")  # whoever reads the mail alone does not get in
        forgetful.at("/login/second")
        forgetful.send("/login/second", {"code": owner.code()})
        forgetful.at("/")
        forgetful.open(link)
        forgetful.at(link, 404)

    browser.open("/")  # the session from before is over
    owner.say_password(browser)
    browser.at("/login", 422)
    owner.password = SECOND
    owner.say_password(browser)
    browser.at("/login/second")
    browser.send("/login/second", {"code": owner.recovery_code()})
    browser.at("/security")

    place.run("user", "reset-2fa", OWNER)
    browser.open("/")
    owner.say_password(browser)
    browser.open("/keys")
    owner.enrol(browser)
