from __future__ import annotations

from ipaddress import ip_address

import pytest

from sekisho.domains.model import KEY_RECORDS, NAME_MAX, PROOF, RETURN_PATH, RecordName, Relay, key_host, spf


@pytest.mark.parametrize(
    ("addresses", "record"),
    [
        ([], "v=spf1 a:relay.example.net -all"),
        (["8.8.8.8"], "v=spf1 ip4:8.8.8.8 -all"),
        (["8.8.8.8", "2600::1"], "v=spf1 ip4:8.8.8.8 ip6:2600::1 -all"),
        (["10.0.0.5"], "v=spf1 a:relay.example.net -all"),
        (["10.0.0.5", "8.8.8.8"], "v=spf1 a:relay.example.net ip4:8.8.8.8 -all"),
        (["127.0.0.1", "fd00::1"], "v=spf1 a:relay.example.net -all"),
    ],
)
def test_the_spf_record_names_what_the_world_sees(addresses: list[str], record: str) -> None:
    assert spf("relay.example.net", [ip_address(address) for address in addresses]) == record


def test_every_record_is_either_proof_or_return_path() -> None:
    assert set(RecordName) == PROOF | RETURN_PATH
    assert not PROOF & RETURN_PATH


def test_one_key_of_each_algorithm_signs_and_no_selector_is_the_vendors() -> None:
    active = [record.algorithm for record in KEY_RECORDS if record.active]
    assert sorted(active) == ["ed25519-sha256", "rsa-sha256"]
    selectors = {record.selector for record in KEY_RECORDS}
    assert len(selectors) == 4
    assert not selectors & {"s1", "s2", "m1"}


def test_everything_under_the_longest_name_is_still_a_name() -> None:
    name = "x" * NAME_MAX
    assert max(len(key_host(f"{record.selector}-ab12", name)) for record in KEY_RECORDS) <= 253
    # bounces+<token> is 55 characters at most (preparation.verp); an address is 254 at most.
    assert 55 + 1 + len(f"em1234.{name}") <= 254


def test_the_relay_is_what_return_path_records_name() -> None:
    relay = Relay("relay.example.net", (ip_address("8.8.8.8"),))
    assert relay.data(RecordName.MAIL_SERVER) == "relay.example.net"
    assert relay.data(RecordName.SUBDOMAIN_SPF) == "v=spf1 ip4:8.8.8.8 -all"
