from __future__ import annotations

from sekisho import accounts, ipaccess
from tests.fakes.control import BY, audited
from tests.unit.doors.cli.command import CommandLine

OF_ACME = ("--account", "acme")


def test_a_list_is_kept_by_hand(sekisho: CommandLine) -> None:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    assert sekisho.json("ip-access", "list", *OF_ACME) == {"addresses": [], "rolls_back_at": None}
    assert "every address is let in" in sekisho.text("ip-access", "list", *OF_ACME)
    added = sekisho.json("ip-access", "add", "192.0.2.7", "198.51.100.*", "2001:db8::1/64", *OF_ACME)
    assert added == {"added": ["192.0.2.7/32", "198.51.100.0/24", "2001:db8::/64"]}
    listed = sekisho.json("ip-access", "list", *OF_ACME)["addresses"]
    assert [one["ip"] for one in listed] == added["added"]
    assert "198.51.100.0/24" in sekisho.text("ip-access", "list", *OF_ACME)
    assert sekisho.json("ip-access", "remove", "198.51.100.9/24", *OF_ACME) == {"removed": ["198.51.100.0/24"]}
    assert sekisho.json("ip-access", "clear", *OF_ACME) == {"removed": ["192.0.2.7/32", "2001:db8::/64"]}
    assert sekisho.json("ip-access", "clear", *OF_ACME) == {"removed": []}
    assert [action for action, _ in audited(sekisho.control)[2:]] == ["access.add", "access.remove", "access.clear"]


def test_removing_the_last_says_that_the_list_is_open(sekisho: CommandLine) -> None:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    sekisho.text("ip-access", "add", "192.0.2.7", "192.0.2.8", *OF_ACME)
    assert "Every address" not in sekisho.text("ip-access", "remove", "192.0.2.7", *OF_ACME)
    assert "Every address is let in now" in sekisho.text("ip-access", "remove", "192.0.2.8", *OF_ACME)
    assert "Every address is let in now" in sekisho.text("ip-access", "clear", *OF_ACME)


def test_a_subuser_has_its_own(sekisho: CommandLine) -> None:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    sekisho.text("account", "create", "other", "--owner", "o@example.com")
    sekisho.text("subuser", "create", "shop", *OF_ACME)
    sekisho.text("ip-access", "add", "192.0.2.7", *OF_ACME, "--subuser", "shop")
    assert sekisho.json("ip-access", "list", *OF_ACME)["addresses"] == []
    assert len(sekisho.json("ip-access", "list", *OF_ACME, "--subuser", "shop")["addresses"]) == 1
    assert "no subuser 'shop'" in sekisho.error("ip-access", "clear", "--account", "other", "--subuser", "shop")


def test_what_cannot_be_done_is_said_and_nothing_is_changed(sekisho: CommandLine) -> None:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    sekisho.text("ip-access", "add", "192.0.2.7", *OF_ACME)
    assert "'nonsense' is not an address" in sekisho.error("ip-access", "add", "192.0.2.8", "nonsense", *OF_ACME)
    assert "'nonsense' is not an address" in sekisho.error("ip-access", "remove", "nonsense", *OF_ACME)
    assert "192.0.2.8/32 is not on the list" in sekisho.error("ip-access", "remove", "192.0.2.7", "192.0.2.8", *OF_ACME)
    assert len(sekisho.json("ip-access", "list", *OF_ACME)["addresses"]) == 1


def test_a_list_on_trial_says_so(sekisho: CommandLine) -> None:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    with sekisho.control.begin() as tx:
        acme = accounts.find_account(tx, "acme")
        assert acme is not None
        ipaccess.replace_provisionally(tx, acme.id, ["192.0.2.7"], until_ms=1_795_500_600_000, by=BY)
    assert sekisho.json("ip-access", "list", *OF_ACME)["rolls_back_at"] == "2026-11-24T06:10:00Z"
    assert "comes back at 2026-11-24T06:10:00Z" in sekisho.text("ip-access", "list", *OF_ACME)
    sekisho.text("ip-access", "clear", *OF_ACME)
    assert sekisho.json("ip-access", "list", *OF_ACME) == {"addresses": [], "rolls_back_at": None}
