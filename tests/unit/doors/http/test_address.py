from __future__ import annotations

from ipaddress import ip_network

import pytest

from sekisho.doors.http.address import client_address, counted_as, plain_address

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),  # a stranger's header
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),  # what the client wrote itself stands left
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),  # in a field of its own, too
        ("10.0.0.1", ["198.51.100.1, 10.0.0.2"], "198.51.100.1"),  # two proxies in a row
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),  # no address: who wrote it is the client
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("fd00::1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("fe80::1%eth0", [], "fe80::1"),
    ],
)
def test_only_a_trusted_proxys_word_counts(peer: str, forwarded_for: list[str], client: str) -> None:
    assert str(client_address(peer, forwarded_for, PROXIES)) == client


def test_a_chain_without_end_is_cut() -> None:
    chain = ", ".join(["198.51.100.1"] + ["10.0.0.2"] * 100_000)
    assert str(client_address("10.0.0.1", [chain], PROXIES)) == "10.0.0.2"


def test_a_customers_64_is_counted_as_one() -> None:
    assert counted_as(plain_address("2001:db8:1:2::3")) == counted_as(plain_address("2001:db8:1:2:ffff::9"))
    assert counted_as(plain_address("2001:db8:1:2::3")) != counted_as(plain_address("2001:db8:1:3::3"))
    assert counted_as(plain_address("192.0.2.1")) != counted_as(plain_address("192.0.2.2"))
