"""Sender domains as values, and the DNS records that each wants."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from sekisho.identity import IPAddress
from sekisho.ids import AccountId, DomainId
from sekisho.wire.dkim.signature import Algorithm, Signer

NAME_MAX: Final = 180
"""So that selectors, and a bounce address under the return path (55 characters in front), stay within 253 and 254."""

ASSIGNED_MAX: Final = 5
"""Domains lent to one subuser: the vendor's number."""


class RecordName(enum.StrEnum):
    """The records of a domain, as the contract names them."""

    DKIM1 = "dkim1"
    DKIM2 = "dkim2"
    DKIM_ED25519 = "dkim_ed25519"
    DKIM_ED25519_2 = "dkim_ed25519_2"
    MAIL_SERVER = "mail_server"
    SUBDOMAIN_SPF = "subdomain_spf"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What one of the four key records is for."""

    name: RecordName
    algorithm: Algorithm
    selector: str
    """In front of the claim's own suffix. Never s1, s2 or m1: customers arrive with the vendor's still published."""
    active: bool
    """Signs; else it stands by, published, so that the one that signs can be replaced at once."""


KEY_RECORDS: Final = (
    KeyRecord(RecordName.DKIM1, "rsa-sha256", "sk1", active=True),
    KeyRecord(RecordName.DKIM2, "rsa-sha256", "sk2", active=False),
    KeyRecord(RecordName.DKIM_ED25519, "ed25519-sha256", "ske1", active=True),
    KeyRecord(RecordName.DKIM_ED25519_2, "ed25519-sha256", "ske2", active=False),
)

PROOF: Final = frozenset(record.name for record in KEY_RECORDS)
"""All of these seen in DNS make a domain valid. The stand-by records count too: one that turns out to be missing on the
day it is needed is no stand-by."""

RETURN_PATH: Final = frozenset({RecordName.MAIL_SERVER, RecordName.SUBDOMAIN_SPF})
"""Both of these seen in DNS let bounces go to the domain's own return path; else they go to the relay's own name."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: what DNS must say, and whether it was seen to."""

    name: RecordName
    host: str
    """The full name, without a final dot."""
    type: str
    """``txt`` or ``mx``: lower case, as the vendor's."""
    data: str
    """A TXT's whole value in one string; an MX's host."""
    seen: bool


@dataclass(frozen=True, slots=True)
class Domain:
    """One claim of a domain by an account, or by a subuser."""

    id: DomainId
    account_id: AccountId
    subuser_id: AccountId | None
    name: str
    return_path: str
    valid: bool
    overridden: bool
    """Valid by the operator's word, without DNS."""
    created_ms: int
    checked_ms: int | None
    records: tuple[Record, ...]

    @property
    def owner_id(self) -> AccountId:
        return self.account_id if self.subuser_id is None else self.subuser_id


@dataclass(frozen=True, slots=True, eq=False)
class SigningDomain:
    """What a valid domain gives a message: the right to be From, the keys that sign, a home for bounces."""

    id: DomainId
    domain: str
    return_path_host: str | None
    """None until mail_server and subdomain_spf were both seen in DNS, as the present configuration wants them."""
    signers: tuple[Signer, ...]


@dataclass(frozen=True, slots=True)
class Relay:
    """What the return path's records must point at: this relay."""

    hostname: str
    source_addresses: tuple[IPAddress, ...] = ()

    def data(self, name: RecordName) -> str:
        """The data that a return-path record has to have."""
        return self.hostname if name is RecordName.MAIL_SERVER else spf(self.hostname, self.source_addresses)


def spf(hostname: str, source_addresses: Sequence[IPAddress]) -> str:
    """Write the SPF record of a return path (RFC 7208).

    Addresses of our own are named when the world sees them; a private one is somebody's NAT, and then, as without any,
    the relay's host name stands for what the world sees.
    """
    seen = [address for address in source_addresses if address.is_global]
    mechanisms = [f"{'ip4' if isinstance(address, IPv4Address) else 'ip6'}:{address}" for address in seen]
    if len(seen) != len(source_addresses) or not seen:
        mechanisms.insert(0, f"a:{hostname}")
    return " ".join(("v=spf1", *mechanisms, "-all"))


def key_host(selector: str, domain: str) -> str:
    return f"{selector}._domainkey.{domain}"
