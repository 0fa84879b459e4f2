"""In which order the hosts of a site and their addresses are tried: pure, chance is an argument."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from itertools import zip_longest
from typing import Final

from sekisho.delivery.site import Hop, MxHost
from sekisho.ports.dns import Exchanger

HOSTS_MAX: Final = 20
"""Hosts of a site whose addresses are asked for. Postfix and Exim look at all; the largest in use have a dozen."""
HOPS_MAX: Final = 12
"""Addresses tried for one delivery: with half a minute each, six minutes of nobody answering are enough."""

Chance = Callable[[], float]


def ranked(exchangers: Iterable[Exchanger]) -> tuple[MxHost, ...]:
    """Give each host once, at its best preference, and ranks for preferences: 10, 20 is the same site as 5, 50."""
    best: dict[str, int] = {}
    for exchanger in exchangers:
        best[exchanger.host] = min(exchanger.preference, best.get(exchanger.host, exchanger.preference))
    ranks = {preference: rank for rank, preference in enumerate(sorted(set(best.values())))}
    # By name within a rank, so that domains with the same hosts have the same site, whatever order DNS told them in.
    return tuple(sorted((MxHost(ranks[best[host]], host) for host in best), key=lambda mx: (mx.rank, mx.host)))


def order(hosts: Iterable[MxHost], chance: Chance) -> tuple[MxHost, ...]:
    """Best rank first, at random within a rank (RFC 5321 §5.1: the load of equals is spread), HOSTS_MAX at most."""
    return tuple(sorted(hosts, key=lambda mx: (mx.rank, chance()))[:HOSTS_MAX])


def hops(hosts: Iterable[tuple[MxHost, Sequence[str]]], port: int, chance: Chance) -> tuple[Hop, ...]:
    """Lay out the addresses of hosts that are in order, each address once, HOPS_MAX at most.

    When there are more, hosts give up their later addresses first: one with a hundred keeps no other from its turn.
    """
    taken: set[str] = set()
    laid: list[tuple[int, Hop]] = []
    for mx, addresses in hosts:
        fresh = [address for address in dict.fromkeys(addresses) if address not in taken]
        taken.update(fresh)
        laid.extend((turn, Hop(mx.host, address, port)) for turn, address in enumerate(_alternate(fresh, chance)))
    # The sort is stable: within a turn the places stay in order.
    by_turn = sorted(range(len(laid)), key=lambda place: laid[place][0])
    return tuple(laid[place][1] for place in sorted(by_turn[:HOPS_MAX]))


def _alternate(addresses: Iterable[str], chance: Chance) -> list[str]:
    """Turn by turn IPv4 and IPv6, at random within each.

    IPv4 begins: the big receivers demand more of a sender over IPv6 (a reverse name, SPF or DKIM, or nothing gets in),
    and a machine that has only one of the two mostly has IPv4. The other family is next, in case one leads nowhere.
    """
    shuffled = sorted(addresses, key=lambda _address: chance())
    families = ([each for each in shuffled if ipaddress.ip_address(each).version == version] for version in (4, 6))
    return [address for pair in zip_longest(*families) for address in pair if address is not None]
