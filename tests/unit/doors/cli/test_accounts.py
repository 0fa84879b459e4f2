from __future__ import annotations

from tests.fakes.control import audited
from tests.unit.doors.cli.command import CommandLine


def test_an_account_is_made_before_the_first_start(sekisho: CommandLine) -> None:
    assert sekisho.json("account", "create", "acme", "--owner", "o@example.com") == {
        "account": "acme",
        "setup_url": None,
    }
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
        ("account.disable", "acme"),
        ("account.enable", "acme"),
    ]


def test_errors_are_one_line(sekisho: CommandLine) -> None:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    assert "is taken" in sekisho.error("account", "create", "Acme", "--owner", "o@example.com")
    assert "cannot be a name" in sekisho.error("account", "create", "a\nb", "--owner", "o@example.com")
    assert "not an e-mail address" in sekisho.error("account", "create", "x", "--owner", "o")
    assert "no account 'nobody'" in sekisho.error("account", "disable", "nobody")
