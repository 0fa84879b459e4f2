from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.ports.addresses import fault

HOSTS = (
    "8.8.8.8",
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2a00:1450:4001::1b",
    "2001:200::1",
    "2003::1",
)

PRIVATE = (
    ("10.0.0.0", "private"),
    ("10.255.255.255", "private"),
    ("100.64.0.0", "carrier"),
    ("100.127.255.255", "carrier"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.255", "loopback"),
    ("169.254.169.254", "link-local"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.2.1", "documentation"),
    ("192.168.0.1", "private"),
    ("198.18.0.1", "benchmarks"),
    ("198.19.255.255", "benchmarks"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.1", "documentation"),
    ("::1", "loopback"),
    ("2001:db8::1", "documentation"),
    ("3fff::1", "documentation"),
    ("fc00::1", "unique local"),
    ("fdff:ffff::1", "unique local"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "link-local"),
    ("febf::1", "link-local"),
    ("fec0::1", "site-local"),
)

NEVER = (
    ("0.0.0.0", "no host"),
    ("0.1.2.3", "no host"),
    ("192.0.0.1", "protocols"),
    ("192.88.99.1", "6to4"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.255", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "no host"),
    ("::ffff:8.8.8.8", "mapped"),
    ("::ffff:127.0.0.1", "mapped"),
    ("::ffff:7f00:1", "mapped"),
    ("::ffff:0:127.0.0.1", "translated"),
    ("::127.0.0.1", "compatible"),
    ("::2", "compatible"),
    ("64:ff9b::7f00:1", "NAT64"),
    ("64:ff9b::808:808", "NAT64"),
    ("64:ff9b:1::a00:1", "NAT64"),
    ("100::1", "unassigned"),
    ("2001::1", "Teredo"),
    ("2001:10::1", "protocols"),
    ("2001:20::1", "protocols"),
    ("2002:7f00:1::1", "6to4"),
    ("4000::1", "unassigned"),
    ("5f00::1", "unassigned"),
    ("fbff::1", "unassigned"),
    ("fe00::1", "unassigned"),
    ("ff02::1", "multicast"),
    ("", "no address"),
    ("localhost", "no address"),
    ("127.1", "no address"),
    ("0177.0.0.1", "no address"),
    ("2130706433", "no address"),
)


@pytest.mark.parametrize("address", HOSTS)
def test_hosts_of_the_world_may_be_connected_to(address: str) -> None:
    assert fault(address, allow_private=False) is None
    assert fault(address, allow_private=True) is None


@pytest.mark.parametrize(("address", "what"), PRIVATE)
def test_private_addresses_only_where_they_are_allowed(address: str, what: str) -> None:
    assert what in (fault(address, allow_private=False) or "")
    assert fault(address, allow_private=True) is None


@pytest.mark.parametrize(("address", "what"), NEVER)
def test_what_is_no_host_s_address_is_never_connected_to(address: str, what: str) -> None:
    assert what in (fault(address, allow_private=False) or "")
    assert what in (fault(address, allow_private=True) or "")


@given(address=st.ip_addresses())
def test_nothing_that_python_calls_private_passes(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """A second opinion; the table is stricter."""
    text = str(address)
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert fault(text, allow_private=False) is not None
    if fault(text, allow_private=True) is not None:
        assert fault(text, allow_private=False) is not None
