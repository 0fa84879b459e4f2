"""Which addresses that DNS names may be connected to: whoever owns a name must not aim us at our own network.

A table of our own (IANA's special-purpose registries, 2025): the flags of ``ipaddress`` change between versions of
Python, and none of them means "may be a host of the world". What embeds an IPv4 address in an IPv6 one is refused
whatever it embeds: in DNS it is a mistake or a trick, and where it leads depends on translators that we cannot see.
"""

from __future__ import annotations

import ipaddress
from typing import Final

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_PRIVATE: Final[tuple[tuple[str, str], ...]] = (
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "a carrier's shared address"),
    ("127.0.0.0/8", "a loopback address"),
    ("169.254.0.0/16", "a link-local address"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.2.0/24", "an address for documentation"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "an address for benchmarks"),
    ("198.51.100.0/24", "an address for documentation"),
    ("203.0.113.0/24", "an address for documentation"),
    ("::1/128", "the loopback address"),
    ("2001:db8::/32", "an address for documentation"),
    ("3fff::/20", "an address for documentation"),
    ("fc00::/7", "a unique local address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a site-local address"),
)
"""Refused unless private addresses are allowed: a network of one's own, or a test's."""

_NEVER: Final[tuple[tuple[str, str], ...]] = (
    ("0.0.0.0/8", "an address of no host"),  # Linux connects to itself
    ("192.0.0.0/24", "an address for protocols"),
    ("192.88.99.0/24", "a 6to4 relay's address"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "a reserved address"),  # 255.255.255.255 as well
    ("::/128", "the address of no host"),
    ("::ffff:0.0.0.0/96", "an IPv4-mapped address"),
    ("::ffff:0:0:0/96", "a translated IPv4 address"),
    ("::/96", "an IPv4-compatible address"),
    ("64:ff9b::/96", "a NAT64 address"),
    ("64:ff9b:1::/48", "a NAT64 address"),
    ("2001::/32", "a Teredo address"),
    ("2001::/23", "an address for protocols"),
    ("2002::/16", "a 6to4 address"),
    ("ff00::/8", "a multicast address"),
)
"""Of no host anywhere."""
_GLOBAL_IPV6: Final = ipaddress.IPv6Network("2000::/3")
"""The one block that IANA gives to hosts of the world: what is outside and not named above is for nobody yet."""


def _parsed(table: tuple[tuple[str, str], ...]) -> dict[int, tuple[tuple[_Network, str], ...]]:
    rows = [(ipaddress.ip_network(network), what) for network, what in table]
    return {version: tuple(row for row in rows if row[0].version == version) for version in (4, 6)}


_PRIVATE_NETWORKS: Final = _parsed(_PRIVATE)
_NEVER_NETWORKS: Final = _parsed(_NEVER)


def fault(address: str, *, allow_private: bool) -> str | None:
    """Say what kind of address this is when it must not be connected to (``a loopback address``); None when it may."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "no address"
    for network, what in _PRIVATE_NETWORKS[parsed.version]:
        if parsed in network:
            return None if allow_private else what
    for network, what in _NEVER_NETWORKS[parsed.version]:
        if parsed in network:
            return what
    if parsed.version == 6 and parsed not in _GLOBAL_IPV6:
        return "an unassigned address"
    return None
