from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.ipaccess.networks import ENTRY_MAX_CHARACTERS, AllowList, admits, read_entry
from sekisho.refusal import Declined, Obstacle

NETWORKS = st.one_of(
    st.builds(
        lambda number, prefix: IPv4Network((number, prefix), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(1, 32),
    ),
    st.builds(
        lambda number, prefix: IPv6Network((number, prefix), strict=False),
        st.integers(2**100, 2**128 - 1),
        st.integers(1, 128),
    ),
)
ADDRESSES = st.ip_addresses()


@pytest.mark.parametrize(
    ("text", "network"),
    [
        ("192.0.2.7", "192.0.2.7/32"),
        (" 192.0.2.7 ", "192.0.2.7/32"),
        ("192.0.2.7/32", "192.0.2.7/32"),
        ("192.168.100.14/24", "192.168.100.0/24"),
        ("25.203.44.*", "25.203.44.0/24"),
        ("192.168.*.*", "192.168.0.0/16"),
        ("192.*.*.*", "192.0.0.0/8"),
        ("2001:DB8::1", "2001:db8::1/128"),
        ("2001:db8::1/64", "2001:db8::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7/32"),
        ("::ffff:c000:207", "192.0.2.7/32"),
        ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
    ],
)
def test_an_entry_is_a_network(text: str, network: str) -> None:
    assert read_entry(text) == ip_network(network)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "*", "*.*.*.*", "192.*", "192.168.*", "192.*.2.1", "192.*.2.*", "192.0.2.7*", "192.0.2.*/24"),
        *("192.0.2", "192.0.2.256", "256.0.2.*", "010.0.0.1", "192.0.2.7/33", "192.0.2.7/-1", "192.0.2.7/", "/8"),
        *("192.0.2.0/255.255.255.0", "192.0.2.0/0.0.0.255", "192.0.2.0/24/24", "192.0.2.1-192.0.2.9", "3221225985"),
        *("192.0.2.7 /32", "192.0.2.7\n192.0.2.8", "192.0.2.\N{ARABIC-INDIC DIGIT SEVEN}", "192.0.2.7/\uff12\uff14"),
        *("2001:db8::1%eth0", "[2001:db8::1]", "2001:db8::/129", ":::", "::ffff:192.0.2.7/64", "example.com"),
        *("0.0.0.0/0", "::/0", "1.2.3.4/0", "::ffff:0.0.0.0/96", "2001:db8::/0"),
        "1" * (ENTRY_MAX_CHARACTERS + 1),
    ],
)
def test_anything_else_is_none_and_is_named(text: str) -> None:
    answer = read_entry(text)
    assert isinstance(answer, Declined)
    assert answer.obstacle is Obstacle.ACCESS_RULE_MALFORMED
    assert len(answer.text) < 300


def test_every_address_is_no_entry_and_what_to_do_instead_is_said() -> None:
    answer = read_entry("0.0.0.0/0")
    assert isinstance(answer, Declined)
    assert "remove all entries" in answer.text


@given(text=st.text(alphabet="0123456789abcdefABF.:/* %x", max_size=50) | st.text(max_size=80))
def test_no_text_is_more_than_declined_and_what_is_read_prints_and_reads_again(text: str) -> None:
    network = read_entry(text)
    if not isinstance(network, Declined):
        assert network.prefixlen > 0
        assert read_entry(str(network)) == network
        assert not (isinstance(network, IPv6Network) and network.subnet_of(IPv6Network("::ffff:0:0/96")))


@given(network=NETWORKS)
def test_print_then_read_is_identity(network: IPv4Network | IPv6Network) -> None:
    assert read_entry(str(network)) == network


@given(number=st.integers(0, 2**32 - 1), prefix=st.integers(1, 32), stars=st.integers(1, 3))
def test_spellings_of_one_network_are_one(number: int, prefix: int, stars: int) -> None:
    address = IPv4Address(number)
    assert read_entry(f"::ffff:{address}/{96 + prefix}") == read_entry(f"{address}/{prefix}")
    octets = str(address).split(".")[: 4 - stars]
    wildcard = read_entry(".".join([*octets, *["*"] * stars]))
    assert wildcard == read_entry(f"{address}/{32 - 8 * stars}")


@given(networks=st.lists(NETWORKS, min_size=1, max_size=20), address=ADDRESSES, at=st.integers(0, 2**128))
def test_a_list_admits_what_is_in_one_of_its_networks(
    networks: list[IPv4Network | IPv6Network], address: IPv4Address | IPv6Address, at: int
) -> None:
    inside = networks[0][at % networks[0].num_addresses]
    assert admits(networks, inside)
    plain = address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
    assert admits(networks, address) == any(plain in network for network in networks)


@given(networks=st.lists(NETWORKS, max_size=5), number=st.integers(0, 2**32 - 1))
def test_ipv4_in_disguise_is_judged_as_ipv4(networks: list[IPv4Network | IPv6Network], number: int) -> None:
    address = IPv4Address(number)
    assert admits(networks, IPv6Address(f"::ffff:{address}")) == admits(networks, address)


def test_an_empty_list_is_open() -> None:
    assert AllowList(()).admits(ip_address("192.0.2.7"))
    assert AllowList(()).admits(ip_address("2001:db8::1"))


def test_versions_do_not_mix() -> None:
    # 192.0.2.7 and ::c000:207 are the same number.
    only_ipv4 = AllowList([IPv4Network("192.0.2.7")])
    assert not only_ipv4.admits(IPv6Address("::c000:207"))
    assert not AllowList([IPv6Network("::c000:207")]).admits(IPv4Address("192.0.2.7"))


def test_a_full_list_is_asked_as_a_short_one() -> None:
    networks = [IPv4Network((10 << 24 | number << 8, 24)) for number in range(1000)]
    listed = AllowList(networks)
    assert all(listed.admits(network.network_address + 9) for network in networks)
    assert not listed.admits(ip_address("10.3.232.0"))
    assert not listed.admits(ip_address("9.255.255.255"))
