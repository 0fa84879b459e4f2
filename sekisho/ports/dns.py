"""What the DNS says: questions with typed answers, and names in the spelling that it uses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
import dns.reversename
import idna
from dns.rdtypes.ANY.MX import MX
from dns.rdtypes.ANY.TXT import TXT

from sekisho.wire.mail.address import is_domain, is_local_name

RECORDS_MAX: Final = 100
"""Records of one answer that are looked at. TCP brings up to 64 KiB of them; nobody honest needs a tenth of this."""


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


@dataclass(frozen=True, slots=True)
class NoSuchName:
    """NXDOMAIN: nothing of any type is there."""


@dataclass(frozen=True, slots=True)
class NoRecords:
    """The name is there, and has no record of the type asked for."""


@dataclass(frozen=True, slots=True)
class TryLater:
    """No answer that could be believed: time-out, SERVFAIL, refused, nonsense. Says nothing about the name."""

    reason: str


Absent = NoSuchName | NoRecords | TryLater


class Dns(Protocol):
    """The questions that this server asks."""

    async def texts(self, name: str) -> Texts | Absent: ...

    async def exchangers(self, name: str) -> Exchangers | Absent: ...


class Resolver:
    """Dns over the machine's resolvers, or over those that the configuration names."""

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
        self._resolver.lifetime = timeout_s
        # Several tries fit into the whole time, so that one lost datagram is not an answer.
        self._resolver.timeout = timeout_s / 3

    async def texts(self, name: str) -> Texts | Absent:
        answer = await self._ask(name, dns.rdatatype.TXT)
        if not isinstance(answer, dns.resolver.Answer):
            return answer
        records = [record for record in list(answer)[:RECORDS_MAX] if isinstance(record, TXT)]
        # What is not ASCII is shown as such and matches nothing of ours.
        return Texts(tuple(b"".join(record.strings).decode("ascii", "replace") for record in records))

    async def exchangers(self, name: str) -> Exchangers | Absent:
        answer = await self._ask(name, dns.rdatatype.MX)
        if not isinstance(answer, dns.resolver.Answer):
            return answer
        records = [record for record in list(answer)[:RECORDS_MAX] if isinstance(record, MX)]
        found = [Exchanger(record.preference, str(record.exchange).rstrip(".").lower()) for record in records]
        return Exchangers(tuple(sorted(found, key=lambda exchanger: (exchanger.preference, exchanger.host))))

    async def addresses(self, name: str) -> tuple[str, ...] | Absent:
        """Ask for the A and AAAA records of a host; absent only when it has neither."""
        found: list[str] = []
        absent: Absent = NoRecords()
        for kind in (dns.rdatatype.A, dns.rdatatype.AAAA):
            answer = await self._ask(name, kind)
            if isinstance(answer, dns.resolver.Answer):
                found.extend(record.to_text() for record in list(answer)[:RECORDS_MAX])
            else:
                absent = answer
        return tuple(found) if found else absent

    async def pointers(self, address: str) -> tuple[str, ...] | Absent:
        """Ask which names an address points back to (PTR), in lower case, without the final dot."""
        answer = await self._ask(dns.reversename.from_address(address).to_text(), dns.rdatatype.PTR)
        if not isinstance(answer, dns.resolver.Answer):
            return answer
        return tuple(record.to_text().rstrip(".").lower() for record in list(answer)[:RECORDS_MAX])

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> dns.resolver.Answer | Absent:
        try:
            # Absolute: a search list would turn the question into one about somebody else's name.
            absolute = dns.name.from_text(name, dns.name.root)
            return await self._resolver.resolve(absolute, kind, search=False)
        except dns.resolver.NXDOMAIN:
            return NoSuchName()
        except dns.resolver.NoAnswer:
            return NoRecords()
        except (dns.resolver.LifetimeTimeout, dns.exception.Timeout):
            return TryLater("no answer in time")
        except dns.resolver.NoNameservers as error:
            return TryLater(_short(error))
        except (dns.exception.DNSException, OSError) as error:
            return TryLater(type(error).__name__)


class ResolverUnusable(Exception):
    """There is nobody to ask; the message says what to configure."""


def _short(error: dns.resolver.NoNameservers) -> str:
    """Say what the servers answered: SERVFAIL, REFUSED, or that they could not be reached."""
    faults = [entry[3] for entry in error.kwargs.get("errors", ())]
    texts = sorted({fault if isinstance(fault, str) else type(fault).__name__ for fault in faults})
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
