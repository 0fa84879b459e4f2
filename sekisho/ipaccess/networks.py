"""Entries of an allow list as people write them, and whether a list lets an address in. Pure."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

from sekisho.identity import IPAddress, IPNetwork, undisguised
from sekisho.refusal import Declined, Obstacle

ENTRY_MAX_CHARACTERS: Final = 64
"""The longest honest one, an IPv6 network with IPv4 in its tail, has 49."""

_ADDRESS_AND_PREFIX: Final = re.compile(r"([0-9A-Fa-f.:]{2,45})(?:/([0-9]{1,3}))?")
# The vendor's documents show the star in the last octet, its OpenAPI example in the last three.
_WILDCARD: Final = re.compile(r"((?:[0-9]{1,3}\.){1,3})(?:\*\.){0,2}\*")
_OCTETS: Final = 4
_MAPPED_BITS: Final = 96
_WORD_BITS: Final = 64


def read_entry(text: str) -> IPNetwork | Declined:
    """Read one entry: an address, a network whose host bits may be set, or an IPv4 address that ends in stars.

    IPv4 in IPv6 disguise (RFC 4291 §2.5.5.2) is IPv4. A network of all addresses is none: an open list is empty.
    """
    network = _read(text.strip()) if len(text) <= ENTRY_MAX_CHARACTERS else None
    if network is None:
        wanted = "an address, a network such as 192.0.2.0/24 or 2001:db8::/32, or 192.0.2.*"
        return Declined(Obstacle.ACCESS_RULE_MALFORMED, f"{text[:ENTRY_MAX_CHARACTERS]!r} is not {wanted}")
    if network.prefixlen == 0:
        fix = "remove all entries to let every address in"
        return Declined(Obstacle.ACCESS_RULE_MALFORMED, f"{network} is every address, which restricts nothing: {fix}")
    return network


def _read(text: str) -> IPNetwork | None:
    if (wildcard := _WILDCARD.fullmatch(text)) is not None:
        octets = wildcard[1].rstrip(".").split(".")
        if text.count(".") != _OCTETS - 1:
            return None
        text = f"{'.'.join([*octets, *['0'] * (_OCTETS - len(octets))])}/{8 * len(octets)}"
    found = _ADDRESS_AND_PREFIX.fullmatch(text)
    if found is None:
        return None
    try:
        address = ip_address(found[1])
        prefix = address.max_prefixlen if found[2] is None else int(found[2])
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        if mapped is not None:
            # A shorter prefix is a network of IPv6 addresses, which whoever wrote it did not mean.
            return IPv4Network((int(mapped), prefix - _MAPPED_BITS), strict=False)
        kind = IPv4Network if isinstance(address, IPv4Address) else IPv6Network
        return kind((int(address), prefix), strict=False)
    except ValueError:
        return None


class AllowList:
    """Networks in the form that is asked: quick and small also with a thousand of them."""

    __slots__ = ("_prefixes",)

    def __init__(self, networks: Iterable[IPNetwork]) -> None:
        prefixes: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            shift = network.max_prefixlen - network.prefixlen
            prefixes.setdefault((network.version, shift), set()).add(int(network.network_address) >> shift)
        self._prefixes: Final = {length: _pack(numbers) for length, numbers in prefixes.items()}

    def admits(self, address: IPAddress) -> bool:
        """Whether the address may come in; an empty list lets everybody in."""
        if not self._prefixes:
            return True
        address = undisguised(address)
        number, version = int(address), address.version
        return any(
            version == of_version and _holds(numbers, number >> shift)
            for (of_version, shift), numbers in self._prefixes.items()
        )


def _pack(numbers: Iterable[int]) -> Sequence[int]:
    """Sort them; eight bytes each where they fit, for thousands of lists are kept in memory."""
    ordered = sorted(numbers)
    return array("Q", ordered) if ordered[-1].bit_length() <= _WORD_BITS else ordered


def _holds(numbers: Sequence[int], number: int) -> bool:
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number


def admits(networks: Iterable[IPNetwork], address: IPAddress) -> bool:
    """Whether a list of networks lets an address in, asked once."""
    return AllowList(networks).admits(address)
