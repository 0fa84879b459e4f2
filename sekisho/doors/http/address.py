"""Where a request comes from: the socket, or what a trusted proxy says. Nobody else's header is believed."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv6Address, ip_address
from typing import Final

from sekisho.identity import IPAddress, IPNetwork, undisguised

_HOPS_MAX: Final = 32
"""Entries of X-Forwarded-For that are looked at, from the right; a longer chain ends where it is cut."""


_HOST_BITS: Final = 64


def client_address(peer: str, forwarded_for: Sequence[str], trusted: Sequence[IPNetwork]) -> IPAddress:
    """Find the client's address.

    ``peer`` is the other end of the connection, ``forwarded_for`` the X-Forwarded-For fields in order. Read from the
    right: each trusted proxy vouches for the address left of it; the first that is not a trusted proxy's is the
    client's. An entry that is no address ends the walk: the proxy that wrote it is taken for the client.
    """
    address = plain_address(peer)
    entries = [entry.strip() for field in forwarded_for for entry in field.split(",")]
    for entry in reversed(entries[-_HOPS_MAX:]):
        if not any(address in network for network in trusted):
            break
        try:
            address = plain_address(entry)
        except ValueError:
            break
    return address


def counted_as(address: IPAddress) -> IPAddress:
    """Give what an address is counted as: itself, or the start of its /64, which one IPv6 customer owns."""
    if isinstance(address, IPv6Address):
        return IPv6Address(int(address) >> _HOST_BITS << _HOST_BITS)
    return address


def plain_address(text: str) -> IPAddress:
    """Read an address without port, brackets or zone; an IPv4 address in IPv6 disguise is IPv4 (RFC 4291 §2.5.5.2).

    Raises ValueError.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    return undisguised(ip_address(text.partition("%")[0]))
