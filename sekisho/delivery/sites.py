"""Where mail for a domain goes, by DNS (RFC 5321 §5.1): the hosts of a domain, and the addresses of hosts."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from sekisho.delivery import plan
from sekisho.delivery.site import Hop, MxHost, NoMail, Site
from sekisho.delivery.verdict import Temporary, one_line
from sekisho.ports import addresses
from sekisho.ports.clock import Clock
from sekisho.ports.dns import Addresses, Exchanger, Exchangers, MailDns, NoRecords, NoSuchName, TryLater
from sekisho.ports.dnscache import FAILURE_TTL_S, AnswerCache
from sekisho.queue.model import Bounced, BounceType, Classification

ADDRESSES_MAX: Final = 24
"""Addresses kept per host: twice what one delivery tries."""
_NAMED_MAX: Final = 3
"""Hosts that a verdict names."""


@dataclass(frozen=True, slots=True)
class _Reachable:
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Refused:
    """All its addresses are of kinds that must not be connected to; ``why`` names the first."""

    why: str


@dataclass(frozen=True, slots=True)
class _Nowhere:
    """It has no address."""


@dataclass(frozen=True, slots=True)
class _Unknown:
    """Its addresses could not be learnt."""

    why: str


_Host = _Reachable | _Refused | _Nowhere | _Unknown


class Sites:
    """Sites of domains and hops of sites, each remembered as long as DNS allows.

    Trouble with DNS is always temporary, whatever else is known: only what an answer says for certain is a bounce.
    """

    def __init__(self, dns: MailDns, *, port: int, allow_private: bool, chance: plan.Chance, clock: Clock) -> None:
        """``allow_private`` lets mail go to loopback and private networks: for a network of one's own, and tests."""
        self._dns = dns
        self._port = port
        self._allow_private = allow_private
        self._chance = chance
        self._sites: AnswerCache[Site | NoMail] = AnswerCache(self._ask_site, clock=clock)
        self._hosts: AnswerCache[_Host] = AnswerCache(self._ask_host, clock=clock)

    def known(self, domain: str) -> Site | NoMail | None:
        """Give what is known without asking; None = ``find``. Cheap: asked for each delivery."""
        return self._sites.known(domain)

    async def find(self, domain: str) -> Site | NoMail:
        """Look up where mail for ``domain`` (lower-case A-labels, as recipients have it) goes."""
        return await self._sites.find(domain)

    async def hops(self, site: Site) -> Sequence[Hop] | NoMail:
        """Give what to connect to for one delivery, best first, checked; drawn anew at each call.

        NoMail: bounced when there is nothing to connect to for certain, temporary when DNS kept it from us.
        """
        hosts = plan.order(site.hosts, self._chance)
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._hosts.find(mx.host)) for mx in hosts]
        found = [(mx, task.result()) for mx, task in zip(hosts, asked, strict=True)]
        reachable = [(mx, host.addresses) for mx, host in found if isinstance(host, _Reachable)]
        if reachable:
            return plan.hops(reachable, self._port, self._chance)
        return _nothing(site, found)

    async def _ask_site(self, domain: str) -> tuple[Site | NoMail, float]:
        answer = await self._dns.exchangers(domain)
        match answer:
            case Exchangers():
                return _site(domain, answer.values), answer.ttl_s
            case NoRecords():
                return await self._ask_implicit(domain, answer.ttl_s)
            case NoSuchName():
                return _bounced(f"5.1.2 {domain} does not exist", BounceType.BOUNCE), answer.ttl_s
            case TryLater():
                return _later(domain, answer.reason), FAILURE_TTL_S
            case _:
                assert_never(answer)

    async def _ask_implicit(self, domain: str, ttl_s: float) -> tuple[Site | NoMail, float]:
        """Without any MX, the domain is its own and only host (RFC 5321 §5.1)."""
        host = await self._hosts.find(domain)
        match host:
            case _Reachable() | _Refused():
                return Site((MxHost(0, domain),), implicit=True), ttl_s
            case _Nowhere():
                return _bounced(f"5.1.2 {domain} has neither MX nor address", BounceType.BOUNCE), ttl_s
            case _Unknown():
                return _later(domain, host.why), FAILURE_TTL_S
            case _:
                assert_never(host)

    async def _ask_host(self, name: str) -> tuple[_Host, float]:
        answer = await self._dns.addresses(name)
        match answer:
            case Addresses():
                return self._judged(name, answer.values), answer.ttl_s
            case NoSuchName() | NoRecords():
                return _Nowhere(), answer.ttl_s
            case TryLater():
                return _Unknown(answer.reason), FAILURE_TTL_S
            case _:
                assert_never(answer)

    def _judged(self, name: str, found: Sequence[str]) -> _Host:
        faults = {address: addresses.fault(address, allow_private=self._allow_private) for address in found}
        allowed = tuple(address for address, fault in faults.items() if fault is None)
        if allowed:
            return _Reachable(allowed[:ADDRESSES_MAX])
        return next((_Refused(f"{name} is {address}, {fault}") for address, fault in faults.items()), _Nowhere())


# Letters, digits, hyphens; and underscores, which are against the rules, in use, and resolved by everybody.
_is_host = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*").fullmatch
_is_number = re.compile(r"[0-9]+|0x[0-9a-f]*").fullmatch


def _site(domain: str, exchangers: Sequence[Exchanger]) -> Site | NoMail:
    if all(exchanger.host == "" for exchanger in exchangers):
        # RFC 7505; 556 is the reply that it names. Beside other records "." is somebody's mistake, and passed over.
        return _bounced(f"556 5.1.10 {domain} takes no mail (null MX)", BounceType.BOUNCE, "5.1.10")
    # An address written as a host name ("MX 10 192.0.2.1") is none: RFC 5321 §5.1 wants a name that has one.
    usable = [each for each in exchangers if _is_host(each.host) and not _is_number(each.host.rpartition(".")[2])]
    if not usable:
        named = ", ".join(each.host for each in exchangers[:_NAMED_MAX])
        return _bounced(f"5.4.4 no MX of {domain} is a host name: {named}", BounceType.BLOCKED)
    return Site(plan.ranked(usable))


def _nothing(site: Site, found: Sequence[tuple[MxHost, _Host]]) -> NoMail:
    """Say why none of the hosts can be connected to: what can still become better first."""
    for mx, host in found:
        if isinstance(host, _Unknown):
            return _later(mx.host, host.why)
    for _mx, host in found:
        if isinstance(host, _Refused):
            return _bounced(f"5.4.4 not connected to: {host.why}", BounceType.BLOCKED)
    if site.implicit:
        return _bounced(f"5.1.2 {site.hosts[0].host} has neither MX nor address", BounceType.BOUNCE)
    named = ", ".join(mx.host for mx, _host in found[:_NAMED_MAX])
    return _bounced(f"5.4.4 no mail exchanger has an address: {named}", BounceType.BLOCKED)


def _bounced(text: str, kind: BounceType, status: str = "") -> NoMail:
    about = Classification.INVALID_ADDRESS if kind is BounceType.BOUNCE else Classification.TECHNICAL
    return NoMail(Bounced(one_line(text), kind, status or text.partition(" ")[0], classification=about))


def _later(name: str, reason: str) -> NoMail:
    return NoMail(Temporary(one_line(f"4.4.3 {name} could not be looked up: {reason}"), "4.4.3"))
