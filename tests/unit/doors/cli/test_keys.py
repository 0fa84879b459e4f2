from __future__ import annotations

import re

import pytest
import sqlalchemy as sa

from sekisho.audit import audit
from tests.unit.doors.cli.command import CommandLine

VENDORS = b"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"
DASHED = b"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"


@pytest.fixture(autouse=True)
def _tenants(sekisho: CommandLine) -> None:
    for account in ("acme", "other"):
        sekisho.text("account", "create", account, "--owner", "o@example.com")
    sekisho.text("subuser", "create", "shop", "--account", "acme")


SENDER = ("--from-address", "News@Example.com")
CREATE = ("key", "create", "--account", "acme", "--name", "n")


def test_a_key_is_shown_once(sekisho: CommandLine) -> None:
    made = sekisho.json(*CREATE, "--scope", "mail.send", "--scope", "stats.read")
    assert re.fullmatch(r"SG\.[\w-]{22}\.[\w-]{43}", made["api_key"])
    assert made["api_key"][3:25] == made["api_key_id"]
    assert made["scopes"] == ["mail.send", "stats.read"]
    secret = made["api_key"][26:]
    with sekisho.control.connect() as tx:
        everything = str(tx.execute(sa.select(audit)).all())
    shown = sekisho.text("key", "list") + sekisho.text("key", "show", made["api_key_id"])
    assert secret not in shown + str(sekisho.json("key", "list")) + everything
    assert "SG." in sekisho.text(*CREATE)


def test_no_scope_is_full_access(sekisho: CommandLine) -> None:
    made = sekisho.json(*CREATE)
    assert {"mail.send", "subusers.read"} <= set(made["scopes"])
    assert not [scope for scope in made["scopes"] if scope.startswith("billing.")]
    assert sekisho.json("key", "show", made["api_key_id"])["full_access"] is True


def test_a_key_has_the_policy_it_was_given(sekisho: CommandLine) -> None:
    options = "--ip 10.1.2.3/8 --ip 2001:db8::1 --from-domain Example.com --rate 5/m --daily 100 --max-recipients 3"
    made = sekisho.json(*CREATE, "--subuser", "shop", *options.split(), *SENDER, "--expires", "2099-01-31T12:00:00Z")
    shown = sekisho.json("key", "show", made["api_key_id"])
    assert shown | {"scopes": [], "created_at": ""} == {
        "api_key_id": made["api_key_id"],
        "name": "n",
        "account": "acme",
        "subuser": "shop",
        "state": "active",
        "full_access": True,
        "scopes": [],
        "ips": ["10.0.0.0/8", "2001:db8::1/128"],
        "from_domains": ["example.com"],
        "from_addresses": ["News@example.com"],
        "rate": "5/m",
        "daily": 100,
        "max_recipients": 3,
        "expires_at": "2099-01-31T12:00:00Z",
        "imported": False,
        "created_at": "",
        "revoked_at": None,
        "held_reason": None,
    }
    assert "example.com" in sekisho.text("key", "show", made["api_key_id"])


# Tables inside the tests: each command opens a data directory, and one per case would be most of the time.
IMPOSSIBLE = [
    (["--scope", "suppressions.read"], "did you mean suppression.read?"),
    (["--scope", "2fa_required"], "cannot be given"),
    (["--ip", "example.com"], "--ip 'example.com'"),
    (["--from-domain", "localhost"], "--from-domain"),
    (["--from-address", "example.com"], "--from-address"),
    (["--rate", "5"], "--rate"),
    (["--daily", "0"], "--daily"),
    (["--max-recipients", "0"], "--max-recipients"),
    (["--expires", "2020-01-01T00:00:00Z"], "not in the future"),
    (["--subuser", "nobody"], "no subuser 'nobody'"),
]


def test_what_cannot_be_is_one_line_and_no_key(sekisho: CommandLine) -> None:
    for options, words in IMPOSSIBLE:
        assert words in sekisho.error(*CREATE, *options)
    assert sekisho.json("key", "list") == {"keys": []}


def test_a_subuser_of_somebody_else_is_nobody(sekisho: CommandLine) -> None:
    assert "no subuser 'shop'" in sekisho.error(
        "key", "create", "--account", "other", "--subuser", "shop", "--name", "n"
    )


@pytest.mark.parametrize("stdin", [VENDORS, VENDORS + b"\n", b"  " + VENDORS + b"\r\n"])
def test_an_existing_key_is_read_from_standard_input_and_not_printed(sekisho: CommandLine, stdin: bytes) -> None:
    made = sekisho.json(*CREATE, "--import", "--scope", "mail.send", stdin=stdin)
    assert made == {"api_key": None, "api_key_id": "qfTQ6KG0QBiwWdJ0-pCLCA", "scopes": ["mail.send"]}
    assert sekisho.json("key", "show", "qfTQ6KG0QBiwWdJ0-pCLCA")["imported"] is True
    again = sekisho.error(*CREATE, "--import", stdin=stdin)
    assert "is here already" in again
    assert "9UBPrcy" not in again


def test_what_is_no_key_is_not_imported(sekisho: CommandLine) -> None:
    for stdin in (b"", b"\n", b"password", VENDORS + b"x", VENDORS + b"\n" + VENDORS, b"x" * 5000):
        assert "not the text of an API key" in sekisho.error(*CREATE, "--import", stdin=stdin)


def test_revoking_twice_is_the_same_answer(sekisho: CommandLine) -> None:
    key = sekisho.json(*CREATE)["api_key_id"]
    first = sekisho.json("key", "revoke", key)
    assert (first["api_key_id"], first["compromised"]) == (key, False)
    assert sekisho.json("key", "revoke", key) == first
    worse = sekisho.json("key", "revoke", key, "--compromised")
    assert (worse["revoked_at"], worse["compromised"]) == (first["revoked_at"], True)
    assert sekisho.json("key", "show", key)["state"] == "compromised"
    assert "no key" in sekisho.error("key", "revoke", "A" * 22)


def test_an_imported_id_may_look_like_an_option(sekisho: CommandLine) -> None:
    key = sekisho.json(*CREATE, "--import", stdin=DASHED)["api_key_id"]
    assert key.startswith("-")
    assert sekisho.json("key", "show", key)["state"] == "active"
    assert sekisho.json("key", "revoke", key, "--compromised")["compromised"] is True
    # A mistyped option is not taken for an id beside one.
    status, out, _ = sekisho("key", "revoke", key, "--compromized")
    assert (status, out) == (2, "")


def test_keys_are_listed_by_owner(sekisho: CommandLine) -> None:
    acmes, others = sekisho.json(*CREATE)["api_key_id"], None
    others = sekisho.json("key", "create", "--account", "other", "--name", "n")["api_key_id"]
    shops = sekisho.json(*CREATE, "--subuser", "shop")["api_key_id"]

    def listed(*options: str) -> set[str]:
        return {key["api_key_id"] for key in sekisho.json("key", "list", *options)["keys"]}

    assert listed() == {acmes, others, shops}
    assert listed("--account", "acme") == {acmes, shops}
    assert listed("--subuser", "shop") == {shops}
    assert acmes in sekisho.text("key", "list")


def test_a_key_is_held_and_let_go(sekisho: CommandLine) -> None:
    key = sekisho.json(*CREATE)["api_key_id"]
    assert "neither compromised nor held" in sekisho.error("key", "purge", key)
    assert sekisho.json("key", "hold", key, "--reason", "seen in a chat")["state"] == "held"
    assert sekisho.json("key", "show", key)["held_reason"] == "seen in a chat"
    assert sekisho.json("key", "release", key) == {"api_key_id": key, "state": "active"}
    assert sekisho.json("key", "release", key)["state"] == "active"
    sekisho.text("key", "revoke", key)
    assert "is revoked" in sekisho.error("key", "hold", key)
    for verb in ("hold", "release", "purge"):
        assert "no key" in sekisho.error("key", verb, "A" * 22)


def test_a_compromised_key_shows_what_it_can_have_done(sekisho: CommandLine) -> None:
    key = sekisho.json(*CREATE)["api_key_id"]
    nothing = {"messages": 0, "delivered": 0, "deferred": 0, "bounced": 0, "dropped": 0}
    told = sekisho.json("key", "revoke", key, "--compromised")
    assert (told["queued"], told["queued_recipients"], told["sent"], told["addresses"]) == ([], 0, nothing, [])
    assert "Used: never" in sekisho.text("key", "revoke", key, "--compromised")
    assert sekisho.json("key", "purge", key) == {"api_key_id": key, "dropped": 0}
    assert sekisho.json("key", "release", key)["state"] == "compromised"
