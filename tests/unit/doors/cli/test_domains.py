from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fakes.control import audited
from tests.fakes.dnsserver import Zone, dns_server
from tests.unit.doors.cli.command import CommandLine

ADD = ("domain", "add", "example.com", "--account", "acme")


@pytest.fixture(autouse=True)
def _tenants(sekisho: CommandLine) -> None:
    for account in ("acme", "other"):
        sekisho.text("account", "create", account, "--owner", "o@example.com")
    sekisho.text("subuser", "create", "shop", "--account", "acme")


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Zone]:
    with dns_server() as zone:
        monkeypatch.setenv("SEKISHO_DNS__NAMESERVERS", f"{zone.address}:{zone.port}")
        monkeypatch.setenv("SEKISHO_DNS__TIMEOUT", "5s")
        monkeypatch.setenv("SEKISHO_SERVER__HOSTNAME", "relay.example.net")
        yield zone


def publish(zone: Zone, made: Any, *, but: tuple[str, ...] = ()) -> None:
    for name, record in made["dns"].items():
        if name in but:
            continue
        if record["type"] == "mx":
            zone.put(record["host"], "MX", [f"10 {record['data']}."])
        else:
            zone.put_texts({record["host"]: record["data"]})


def verified(sekisho: CommandLine, *options: str) -> tuple[int, Any, str]:
    status, out, err = sekisho("domain", "verify", "example.com", "--json", *options)
    return status, json.loads(out), err


def test_a_claim_is_printed_in_the_contracts_shape(sekisho: CommandLine) -> None:
    made = sekisho.json(*ADD)
    assert set(made) == {"domain", "id", "valid", "dns"}
    assert (made["domain"], made["valid"]) == ("example.com", False)
    assert list(made["dns"]) == ["dkim1", "dkim2", "dkim_ed25519", "dkim_ed25519_2", "mail_server", "subdomain_spf"]
    for name, record in made["dns"].items():
        assert set(record) == {"host", "type", "data", "valid"}
        assert record["type"] == ("mx" if name == "mail_server" else "txt")
        assert record["valid"] is False
    assert (sekisho.directory / "master.key").stat().st_mode & 0o777 == 0o600
    assert sekisho.json("domain", "show", "Example.COM.")["dns"] == made["dns"]


def test_the_records_are_printed_for_people(sekisho: CommandLine) -> None:
    text = sekisho.text(*ADD)
    assert "sekisho domain verify example.com" in text
    assert "v=DKIM1; k=rsa; p=" in text
    assert "sk1-" in sekisho.text("domain", "show", "example.com")


def test_published_records_make_it_valid(sekisho: CommandLine, zone: Zone) -> None:
    publish(zone, sekisho.json(*ADD))
    status, document, err = verified(sekisho)
    assert (status, document["valid"], err) == (0, True, "")
    assert all(record["valid"] for record in document["dns"].values())
    assert {result["status"] for result in document["validation_results"].values()} == {"valid"}
    assert "is valid; bounces go to em" in sekisho.text("domain", "verify", "example.com")


def test_the_return_path_may_come_later(sekisho: CommandLine, zone: Zone) -> None:
    publish(zone, sekisho.json(*ADD), but=("mail_server", "subdomain_spf"))
    status, document, _ = verified(sekisho)
    assert (status, document["valid"]) == (0, True)
    assert document["dns"]["mail_server"]["valid"] is False
    text = sekisho.text("domain", "verify", "example.com")
    assert "the relay's own name" in text
    assert "wanted: relay.example.net" in text


@pytest.mark.parametrize("missing", ["dkim1", "dkim2", "dkim_ed25519", "dkim_ed25519_2"])
def test_a_key_that_is_not_published_is_named(sekisho: CommandLine, zone: Zone, missing: str) -> None:
    publish(zone, sekisho.json(*ADD), but=(missing,))
    status, document, err = verified(sekisho)
    assert (status, document["valid"]) == (1, False)
    assert "not all of its keys" in err
    result = document["validation_results"][missing]
    assert (result["valid"], result["status"]) == (False, "missing")
    assert [name for name, record in document["dns"].items() if not record["valid"]] == [missing]


def test_what_is_found_instead_is_shown(sekisho: CommandLine, zone: Zone) -> None:
    made = sekisho.json(*ADD)
    publish(zone, made)
    zone.put_texts({made["dns"]["dkim1"]["host"]: "v=DKIM1; k=rsa; p=b3RoZXI="})
    status, document, _ = verified(sekisho)
    assert (status, document["validation_results"]["dkim1"]["status"]) == (1, "different")
    assert document["validation_results"]["dkim1"]["found"] == ["v=DKIM1; k=rsa; p=b3RoZXI="]
    _, out, _ = sekisho("domain", "verify", "example.com")
    assert "found:  v=DKIM1; k=rsa; p=b3RoZXI=" in out


def test_no_answer_changes_nothing_and_says_try_again(sekisho: CommandLine, zone: Zone) -> None:
    made = sekisho.json(*ADD)
    publish(zone, made)
    zone.put(made["dns"]["dkim1"]["host"], "TXT", "SERVFAIL")
    status, document, err = verified(sekisho)
    assert (status, document["valid"]) == (1, False)
    assert "try again" in err
    assert document["validation_results"]["dkim1"]["status"] == "unknown"
    publish(zone, made)
    assert verified(sekisho)[0] == 0
    zone.put(made["dns"]["dkim1"]["host"], "TXT", "SERVFAIL")
    status, document, err = verified(sekisho)
    assert (status, document["valid"], document["dns"]["dkim1"]["valid"]) == (1, True, True)
    assert "try again" in err


def test_valid_in_one_account_only(sekisho: CommandLine, zone: Zone) -> None:
    for account in ("acme", "other"):
        publish(zone, sekisho.json("domain", "add", "example.com", "--account", account))
    assert "--account" in sekisho.error("domain", "verify", "example.com")
    assert verified(sekisho, "--account", "other")[0] == 0
    status, document, err = verified(sekisho, "--account", "acme")
    assert (status, document["valid"]) == (1, False)
    assert "valid in another account" in err
    assert "valid in another account" in sekisho.error(
        "domain", "verify", "example.com", "--account", "acme", "--override"
    )
    sekisho.text("domain", "remove", "example.com", "--account", "other")
    assert verified(sekisho)[0] == 0


def test_an_override_asks_nobody(sekisho: CommandLine, zone: Zone) -> None:
    sekisho.json(*ADD)
    zone.answers.clear()
    status, document, err = verified(sekisho, "--override")
    assert (status, document["valid"], err) == (0, True, "")
    assert not any(record["valid"] for record in document["dns"].values())
    assert audited(sekisho.control)[-1] == ("domain.override", "example.com")
    # A look at DNS afterwards finds nothing, and the operator's word still stands.
    assert verified(sekisho)[:2] == (0, {**verified(sekisho)[1], "valid": True})


def test_a_domain_is_lent_and_listed_and_removed(sekisho: CommandLine) -> None:
    sekisho.json(*ADD)
    sekisho.json("domain", "add", "example.com", "--account", "other")
    sekisho.json("domain", "add", "shop.example", "--account", "acme", "--subuser", "shop")
    # The subuser says whose claim is meant.
    assert sekisho.json("domain", "assign", "example.com", "--subuser", "shop") == {
        "domain": "example.com",
        "subuser": "shop",
    }
    assert sekisho.json("domain", "show", "example.com", "--account", "acme")["assigned_to"] == ["shop"]
    listed = sekisho.json("domain", "list")["domains"]
    assert [(one["domain"], one["account"], one["subuser"]) for one in listed] == [
        ("example.com", "acme", None),
        ("example.com", "other", None),
        ("shop.example", "acme", "shop"),
    ]
    assert "other" not in sekisho.text("domain", "list", "--account", "acme")
    assert "own and cannot be lent" in sekisho.error("domain", "assign", "shop.example", "--subuser", "shop")
    assert "several accounts" in sekisho.error("domain", "remove", "example.com")
    assert sekisho.json("domain", "remove", "example.com", "--account", "acme") == {
        "domain": "example.com",
        "removed": True,
    }
    assert sekisho.json("domain", "remove", "example.com")["removed"] is True
    assert "was not added" in sekisho.error("domain", "remove", "example.com")


def test_what_is_no_domain_is_one_line(sekisho: CommandLine) -> None:
    assert "not a domain name" in sekisho.error("domain", "add", "localhost", "--account", "acme")
    assert "added to this account already" in (sekisho.text(*ADD) and sekisho.error(*ADD))
    assert "no account" in sekisho.error("domain", "add", "example.org", "--account", "nobody")
