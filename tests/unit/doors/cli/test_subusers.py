from __future__ import annotations

from tests.fakes.control import audited
from tests.unit.doors.cli.command import CommandLine


def test_a_subuser_lives_and_is_deleted(sekisho: CommandLine) -> None:
    for account in ("acme", "other"):
        sekisho.text("account", "create", account, "--owner", "o@example.com")
    assert sekisho.json("subuser", "create", "shop", "--account", "acme") == {"subuser": "shop"}
    sekisho.text("subuser", "create", "theirs", "--account", "other")
    assert "is taken" in sekisho.error("subuser", "create", "shop", "--account", "other")
    listed = sekisho.json("subuser", "list")["subusers"]
    assert [(one["subuser"], one["account"], one["disabled"]) for one in listed] == [
        ("shop", "acme", False),
        ("theirs", "other", False),
    ]
    assert "theirs" not in sekisho.text("subuser", "list", "--account", "acme")
    assert sekisho.json("subuser", "disable", "shop") == {"subuser": "shop", "disabled": True}
    assert sekisho.json("subuser", "enable", "shop") == {"subuser": "shop", "disabled": False}
    key = sekisho.json("key", "create", "--account", "acme", "--subuser", "shop", "--name", "n")["api_key_id"]
    assert sekisho.json("subuser", "delete", "shop") == {"subuser": "shop", "deleted": True}
    assert sekisho.json("key", "show", key)["state"] == "revoked"
    assert audited(sekisho.control)[-3:] == [
        ("key.revoke", key),
        ("subuser.delete", "shop"),
        ("account.subuser_delete", "shop"),
    ]
    assert "no subuser 'shop'" in sekisho.error("subuser", "delete", "shop")


def test_an_account_is_no_subuser(sekisho: CommandLine) -> None:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    assert "no subuser 'acme'" in sekisho.error("subuser", "delete", "acme")
    assert "no account 'nobody'" in sekisho.error("subuser", "create", "x", "--account", "nobody")


def test_credits_are_shown_granted_added_to_and_lifted(sekisho: CommandLine) -> None:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    sekisho.text("subuser", "create", "shop", "--account", "acme")
    assert sekisho.json("subuser", "credits", "shop")["type"] == "unlimited"
    assert "are unlimited" in sekisho.error("subuser", "credits", "shop", "--add", "5")
    granted = sekisho.json("subuser", "credits", "shop", "--total", "100", "--reset", "monthly")
    assert granted == {"subuser": "shop", "type": "recurring", "reset": "monthly", "remain": 100, "total": 100}
    assert sekisho.json("subuser", "credits", "shop", "--add", "-30")["remain"] == 70
    assert "70 more recipients" in sekisho.text("subuser", "credits", "shop")
    assert sekisho.json("subuser", "credits", "shop", "--total", "5")["type"] == "nonrecurring"
    assert sekisho.json("subuser", "credits", "shop", "--unlimited")["remain"] is None
    assert "exclude one another" in sekisho.error("subuser", "credits", "shop", "--total", "5", "--unlimited")
    assert "--reset goes with --total" in sekisho.error("subuser", "credits", "shop", "--reset", "daily")
