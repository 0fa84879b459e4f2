"""What the DNS says: questions with typed answers, and names in the spelling that it uses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.name
import dns.nameserver
import dns.rdata
import dns.rdatatype
import dns.resolver
import dns.reversename
import dns.ttl
import idna
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from sekisho.wire.mail.address import is_domain, is_local_name

RECORDS_MAX: Final = 100
"""Records of one answer that are kept. TCP brings up to 64 KiB of them; nobody honest needs a tenth of this."""
QUESTIONS_MAX: Final = 256
"""Questions under way at once: each is a socket of its own, and a queue asks about as many domains as clients name."""
ALIASES_MAX: Final = 8
"""Questions spent on following aliases that the server did not follow itself; BIND and Unbound stop at 11 to 16."""
_PARTIAL_TTL_S: Final = 60


@dataclass(frozen=True, slots=True)
class Texts:
    """TXT records at a name, each with its strings joined (RFC 6376 §3.6.2.2, RFC 7208 §3.3)."""

    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Exchanger:
    """One MX record; ``host`` in lower case, without the final dot, ``""`` for the root (RFC 7505: no mail here)."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Exchangers:
    """MX records at a name, best first."""

    values: tuple[Exchanger, ...]
    ttl_s: int = field(default=0, compare=False)
    """How long it may be believed (RFC 1035 §3.2.1): no part of what is said, so equal answers are equal without it."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Addresses of a host in text, IPv4 before IPv6, each in the order of the answer."""

    values: tuple[str, ...]
    ttl_s: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class NoSuchName:
    """NXDOMAIN: nothing of any type is there."""

    ttl_s: int = field(default=0, compare=False)
    """RFC 2308 §5: the lesser of the SOA's own TTL and its minimum field."""


@dataclass(frozen=True, slots=True)
class NoRecords:
    """The name is there, and has no record of the type asked for."""

    ttl_s: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TryLater:
    """No answer that could be believed: time-out, SERVFAIL, refused, nonsense. Says nothing about the name."""

    reason: str


Absent = NoSuchName | NoRecords | TryLater


class Dns(Protocol):
    """The questions about a domain's own records."""

    async def texts(self, name: str) -> Texts | Absent: ...

    async def exchangers(self, name: str) -> Exchangers | Absent: ...


class MailDns(Protocol):
    """The questions about where a domain's mail goes."""

    async def exchangers(self, name: str) -> Exchangers | Absent: ...

    async def addresses(self, name: str) -> Addresses | Absent: ...


class Resolver:
    """Dns and MailDns over the machine's resolvers, or over those that the configuration names.

    What a server says counts only when it is an answer to the question: datagrams with another id, question or source
    are passed over until the right one comes (an attacker's guess is no reason to stop listening), a truncated one is
    asked again over TCP, and an answer about something else is none.
    """

    def __init__(self, nameservers: Sequence[tuple[str, int]], timeout_s: float) -> None:
        """Take (address, port) pairs, none = the system's. ``timeout_s`` bounds a whole question, all tries included.

        Raises ResolverUnusable.
        """
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not nameservers)
        except (dns.resolver.NoResolverConfiguration, OSError) as error:
            message = f"this system names no DNS resolver ({error}); set dns.nameservers"
            raise ResolverUnusable(message) from error
        if nameservers:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in nameservers]
        self._resolver.lifetime = self._timeout_s = timeout_s
        # Several tries fit into the whole time, so that one lost datagram is not an answer.
        self._resolver.timeout = timeout_s / 3
        self._room = asyncio.Semaphore(QUESTIONS_MAX)

    async def texts(self, name: str) -> Texts | Absent:
        answer = await self._ask(name, dns.rdatatype.TXT)
        if not isinstance(answer, _Records):
            return answer
        records = [record for record in answer.values[:RECORDS_MAX] if isinstance(record, TXT)]
        # What is not ASCII is shown as such and matches nothing of ours.
        return Texts(tuple(b"".join(record.strings).decode("ascii", "replace") for record in records))

    async def exchangers(self, name: str) -> Exchangers | Absent:
        answer = await self._ask(name, dns.rdatatype.MX)
        if not isinstance(answer, _Records):
            return answer
        found = [
            Exchanger(record.preference, str(record.exchange).rstrip(".").lower())
            for record in answer.values
            if isinstance(record, MX)
        ]
        # Sorted before they are cut, so that what is kept of too many is the best, and the same each time.
        found.sort(key=lambda exchanger: (exchanger.preference, exchanger.host))
        return Exchangers(tuple(found[:RECORDS_MAX]), answer.ttl_s)

    async def addresses(self, name: str) -> Addresses | Absent:
        """Ask for the A and AAAA records of a host, both at once; absent only when it has neither."""
        async with asyncio.TaskGroup() as group:
            ipv4 = group.create_task(self._ask(name, dns.rdatatype.A))
            ipv6 = group.create_task(self._ask(name, dns.rdatatype.AAAA))
        return _either(ipv4.result(), ipv6.result())

    async def pointers(self, address: str) -> tuple[str, ...] | Absent:
        """Ask which names an address points back to (PTR), in lower case, without the final dot."""
        answer = await self._ask(dns.reversename.from_address(address).to_text(), dns.rdatatype.PTR)
        if not isinstance(answer, _Records):
            return answer
        return tuple(record.to_text().rstrip(".").lower() for record in answer.values[:RECORDS_MAX])

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> _Records | Absent:
        try:
            # Absolute: a search list would turn the question into one about somebody else's name.
            absolute = dns.name.from_text(name, dns.name.root)
        except dns.exception.DNSException:
            return NoSuchName()  # what cannot be written in the DNS is not in it
        async with self._room:
            try:
                # dnspython measures by the wall clock, which an operator may set; this does not.
                async with asyncio.timeout(self._timeout_s):
                    return await self._follow(absolute, kind)
            except (dns.resolver.LifetimeTimeout, dns.exception.Timeout, TimeoutError):
                return TryLater("no answer in time")
            except dns.resolver.NoNameservers as error:
                return TryLater(_short(error))
            except (dns.exception.DNSException, OSError) as error:
                return TryLater(type(error).__name__)

    async def _follow(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> _Records | Absent:
        """Ask, and ask again about the end of each chain of aliases that the server left open."""
        ttl_s = dns.ttl.MAX_TTL
        for _ in range(ALIASES_MAX):
            try:
                answer = await self._resolver.resolve(name, kind, search=False, raise_on_no_answer=False)
            except dns.resolver.NXDOMAIN as missing:
                (response,) = missing.kwargs["responses"].values()
                return NoSuchName(min(ttl_s, response.resolve_chaining().minimum_ttl))
            ttl_s = min(ttl_s, answer.chaining_result.minimum_ttl)
            if answer.response.flags & dns.flags.TC:
                return TryLater("a truncated answer")  # over TCP: dnspython asks there by itself, and looks no more
            if answer.rrset is not None:
                return _Records(tuple(answer.rrset), ttl_s)
            absent = _absence(answer, ttl_s)
            if not isinstance(absent, dns.name.Name):
                return absent
            name = absent
        return TryLater("aliases without an end")


class ResolverUnusable(Exception):
    """There is nobody to ask; the message says what to configure."""


@dataclass(frozen=True, slots=True)
class _Records:
    values: tuple[dns.rdata.Rdata, ...]
    ttl_s: int


def _absence(answer: dns.resolver.Answer, ttl_s: int) -> NoRecords | TryLater | dns.name.Name:
    """Judge a NOERROR without the records asked for (RFC 2308 §2.2), or name what to ask about instead.

    To believe too much here costs mail: "no MX" sends it to the domain's own address, "nothing at all" bounces it.
    """
    response, chain = answer.response, answer.chaining_result
    if response.answer and not chain.cnames:
        return TryLater("an answer to another question")
    authority = {records.rdtype for records in response.authority}
    if dns.rdatatype.SOA in authority:
        return NoRecords(ttl_s)
    if chain.cnames:
        return chain.canonical_name
    if dns.rdatatype.NS in authority:
        return TryLater("a referral instead of an answer")  # a lame server: it does not know, nor ask for us
    return NoRecords(ttl_s)


def _either(ipv4: _Records | Absent, ipv6: _Records | Absent) -> Addresses | Absent:
    both = (ipv4, ipv6)
    found = [answer for answer in both if isinstance(answer, _Records)]
    failed = next((answer for answer in both if isinstance(answer, TryLater)), None)
    if found:
        ttl_s = min(answer.ttl_s for answer in found)
        values = tuple(record.to_text() for answer in found for record in answer.values[:RECORDS_MAX])
        return Addresses(values, ttl_s if failed is None else min(ttl_s, _PARTIAL_TTL_S))
    if failed is not None:
        return failed
    ttl_s = min(answer.ttl_s for answer in both if isinstance(answer, NoSuchName | NoRecords))
    return NoSuchName(ttl_s) if NoSuchName() in both else NoRecords(ttl_s)


_FAULTS: Final = {
    "AnswerForNXDOMAIN": "an answer that contradicts itself",
    "BadResponse": "an answer to another question",
    "ChainTooLong": "aliases without an end",
    "EOFError": "the connection was closed",
    "Timeout": "no answer in time",
}


def _short(error: dns.resolver.NoNameservers) -> str:
    """Say what the servers answered: SERVFAIL, REFUSED, or that they could not be reached."""
    faults = [entry[3] for entry in error.kwargs.get("errors", ())]
    names = {fault if isinstance(fault, str) else type(fault).__name__ for fault in faults}
    # Truncated over UDP is only why TCP was tried, and that failed in its own way.
    texts = sorted(_FAULTS.get(name, name) for name in names - {"Truncated"})
    return ", ".join(texts[:4]) or "no server answered"


def ascii_name(text: str) -> str | None:
    """Read a domain name as people write it into the DNS's spelling; None when it is not the name of a public domain.

    Lower-case A-labels, no final dot: ``Bücher.Example.`` is ``xn--bcher-kva.example``. Names of one label, addresses
    and localhost in any form are nobody's domain.
    """
    name = text.removesuffix(".")
    if not name.isascii():
        try:
            # UTS 46 as browsers do it: what people paste is mapped (case, full-width forms), never guessed at.
            name = idna.encode(name, uts46=True, transitional=False).decode("ascii")
        except idna.IDNAError:
            return None
    name = name.lower()
    if not is_domain(name) or is_local_name(name):
        return None
    for label in name.split("."):
        if label.startswith("xn--") and not _is_a_label(label):
            return None
    return name


def _is_a_label(label: str) -> bool:
    try:
        return idna.alabel(idna.ulabel(label)) == label.encode("ascii")
    except (idna.IDNAError, UnicodeError):
        return False
