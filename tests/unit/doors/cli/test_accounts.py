from __future__ import annotations

import time

import pytest

from sekisho import links, signup, users
from sekisho.audit import By
from sekisho.ids import AccountId
from sekisho.links import Purpose
from sekisho.refusal import Declined
from sekisho.signup import Terms
from tests.fakes.control import audited
from tests.unit.doors.cli.command import CommandLine


def test_an_account_is_made_before_the_first_start(sekisho: CommandLine) -> None:
    made = sekisho.json("account", "create", "acme", "--owner", "o@example.com")
    assert made["account"] == "acme"
    assert made["setup_url"].startswith("https://relay.example.net/setup/")
    assert is_good(sekisho, Purpose.SETUP, made["setup_url"])
    (listed,) = sekisho.json("account", "list")["accounts"]
    assert (listed["account"], listed["owner"], listed["disabled"]) == ("acme", "o@example.com", False)
    assert listed["created_at"].endswith("Z")
    assert (sekisho.directory / "control.db").stat().st_mode & 0o777 == 0o600


def test_an_account_is_switched_off_and_on(sekisho: CommandLine) -> None:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    assert sekisho.json("account", "disable", "acme") == {"account": "acme", "disabled": True}
    assert sekisho.json("account", "disable", "ACME") == {"account": "acme", "disabled": True}
    assert "yes" in sekisho.text("account", "list")
    assert sekisho.json("account", "enable", "acme") == {"account": "acme", "disabled": False}
    assert audited(sekisho.control) == [
        ("account.create", "acme"),
        ("account.owner_link", "acme"),
        ("account.disable", "acme"),
        ("account.enable", "acme"),
    ]


def test_errors_are_one_line(sekisho: CommandLine) -> None:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    assert "is taken" in sekisho.error("account", "create", "Acme", "--owner", "o@example.com")
    assert "cannot be a name" in sekisho.error("account", "create", "a\nb", "--owner", "o@example.com")
    assert "not an e-mail address" in sekisho.error("account", "create", "x", "--owner", "o")
    assert "no account 'nobody'" in sekisho.error("account", "disable", "nobody")


def is_good(sekisho: CommandLine, purpose: Purpose, url: str) -> bool:
    with sekisho.control.connect() as tx:
        return links.find(tx, purpose, url.rpartition("/")[2], now_ms=time.time_ns() // 1_000_000) is not None


def test_a_new_set_up_link_ends_the_older_one(sekisho: CommandLine) -> None:
    first = sekisho.json("account", "create", "acme", "--owner", "o@example.com")["setup_url"]
    second = sekisho.json("account", "setup-link", "acme")["setup_url"]
    assert [is_good(sekisho, Purpose.SETUP, url) for url in (first, second)] == [False, True]
    assert "for 7 days" in sekisho.text("account", "setup-link", "acme")
    assert "no account 'nobody'" in sekisho.error("account", "setup-link", "nobody")


def test_an_owner_who_has_set_up_gets_a_link_for_a_new_password(sekisho: CommandLine) -> None:
    url = sekisho.json("account", "create", "acme", "--owner", "o@example.com")["setup_url"]
    by = By("visitor", time.time_ns() // 1_000_000)
    with sekisho.control.begin() as tx:
        owner = signup.set_up(tx, url.rpartition("/")[2], password="x", language="en", by=by)
    assert not isinstance(owner, Declined)
    url = sekisho.json("account", "setup-link", "acme")["setup_url"]
    assert url.startswith("https://relay.example.net/reset/")
    assert is_good(sekisho, Purpose.RESET, url)
    assert "for an hour" in sekisho.text("account", "setup-link", "acme")


def test_nobody_is_invited_where_sign_up_is_closed(sekisho: CommandLine) -> None:
    assert "sign-up is closed" in sekisho.error("account", "invite", "new@example.com")


def test_an_invitation_is_a_letter_or_a_link(sekisho: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEKISHO_SERVER__SIGNUP", "invitation")
    assert sekisho.json("account", "invite", "new@example.com") == {
        "email": "new@example.com",
        "signup_url": None,
        "mailed": True,
        "waits": True,
    }
    assert "server.notices_from" in sekisho.text("account", "invite", "new@example.com")
    printed = sekisho.json("account", "invite", "new@example.com", "--print")
    assert printed["signup_url"].startswith("https://relay.example.net/signup/")
    assert is_good(sekisho, Purpose.SIGNUP, printed["signup_url"])
    assert "not an e-mail address" in sekisho.error("account", "invite", "new")
    monkeypatch.setenv("SEKISHO_SERVER__NOTICES_FROM", "hello@example.com")
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    sekisho.text("domain", "add", "example.com", "--account", "acme")
    sekisho.text("domain", "verify", "example.com", "--override")
    assert "goes to" in sekisho.text("account", "invite", "new@example.com")


def test_a_first_limit_can_be_lifted_by_hand(sekisho: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEKISHO_SERVER__SIGNUP", "open")
    url = sekisho.json("account", "invite", "new@example.com", "--print")["signup_url"]
    by = By("visitor", time.time_ns() // 1_000_000)
    with sekisho.control.begin() as tx:
        opened = signup.open_account(
            tx, url.rpartition("/")[2], name="shop", password="x", terms=Terms(5, 0, 0, 0), language="en", by=by
        )
    assert not isinstance(opened, Declined)
    assert sekisho.json("account", "lift", "shop") == {"account": "shop", "lifted": True}
    with sekisho.control.connect() as tx:
        assert signup.probation_of(tx, AccountId(opened.account.id)) is None
        owner = users.owner_of(tx, opened.account.id)
    assert owner is not None
    assert owner.login_email == "new@example.com"
    assert "has no first limit" in sekisho.error("account", "lift", "shop")
