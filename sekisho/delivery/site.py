"""Where mail for a domain goes when no route says so: values that DNS answers become, and that lanes and pools use."""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.delivery.verdict import Temporary
from sekisho.queue.model import Bounced


@dataclass(frozen=True, slots=True)
class MxHost:
    """One mail exchanger. ``rank`` counts from 0: equal preference, equal rank (RFC 5321 §5.1)."""

    rank: int
    host: str
    """Lower case, A-labels, no final dot."""


@dataclass(frozen=True, slots=True)
class Site:
    """The hosts that take a domain's mail. Domains with equal sites share a lane and its connections (roll-up)."""

    hosts: tuple[MxHost, ...]
    """Best first; never empty. Only ranks count, not the preference numbers they came from."""
    implicit: bool = False
    """There is no MX: the one host is the domain itself."""


@dataclass(frozen=True, slots=True)
class NoMail:
    """Nothing can be sent there: for good (null MX, no such domain) or for now (DNS in trouble)."""

    verdict: Temporary | Bounced


@dataclass(frozen=True, slots=True)
class Hop:
    """One address of one host, resolved and allowed: what a connection is made to."""

    host: str
    address: str
    """IPv4 or IPv6 in text; connected to as it is, never resolved again."""
    port: int
