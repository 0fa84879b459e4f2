"""The limits of a key as people write them and as they are stored."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

import msgspec

from sekisho.identity import IPNetwork, KeyPolicy, Rate
from sekisho.ports.dns import ascii_name
from sekisho.wire.mail.address import parse_path

NUMBER_MAX: Final = 1_000_000_000
_LIST_MAX: Final = 1000
"""Entries of each list: the vendor's bound for address lists."""

_RATE: Final = re.compile(r"([0-9]{1,10})/([sm])")
_DURATION: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# RFC 3339 §5.6 date-time; datetime alone would also take dates without a time and times without an offset.
_DATE_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_LAST_MS: Final = 253_402_300_799_000
"""9999-12-31T23:59:59Z: a later moment could not be printed again."""
_MAPPED: Final = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class PolicyFlaw:
    """What cannot be a limit."""

    field: str
    """Of KeyPolicy, as the API spells it: ``ips``, …, ``expires_at``."""
    text: str
    """What is wrong with it and what it wants, to stand behind its name."""
    given: str = ""
    """The part of it that is wrong, as it was written."""


def read_policy(
    *,
    ips: Sequence[str] = (),
    from_domains: Sequence[str] = (),
    from_addresses: Sequence[str] = (),
    rate: str | None = None,
    daily: int | None = None,
    max_recipients: int | None = None,
    expires: str | None = None,
    now_ms: int,
) -> KeyPolicy | PolicyFlaw:
    """Read limits as people write them; the first that cannot be understood is named with what it wants."""
    try:
        return KeyPolicy(
            ips=tuple(dict.fromkeys(_network(text) for text in _bounded(ips, "ips"))),
            from_domains=frozenset(_domain(text) for text in _bounded(from_domains, "from_domains")),
            from_addresses=frozenset(_address(text) for text in _bounded(from_addresses, "from_addresses")),
            rate=None if rate is None else _rate(rate),
            daily=None if daily is None else _count(daily, "daily"),
            max_recipients=None if max_recipients is None else _count(max_recipients, "max_recipients"),
            expires_ms=None if expires is None else _moment(expires, now_ms),
        )
    except _Unreadable as fault:
        return fault.flaw


def rate_text(rate: Rate) -> str:
    """Print a rate as it is written."""
    return f"{rate.count}/{'s' if rate.window_s == 1 else 'm'}"


class _Unreadable(Exception):
    """A limit's value is not one."""

    def __init__(self, flaw: PolicyFlaw) -> None:
        super().__init__(flaw.text)
        self.flaw: Final = flaw


def _bounded(texts: Sequence[str], field: str) -> Sequence[str]:
    if len(texts) > _LIST_MAX:
        raise _Unreadable(PolicyFlaw(field, f"may be given {_LIST_MAX} times at most"))
    return texts


def _network(text: str) -> IPNetwork:
    try:
        # Host bits are tolerated, as the vendor's lists do: 192.168.100.14/24 means the /24.
        network = ip_network(text, strict=False)
    except ValueError:
        message = f"{text!r} is neither an address nor a network such as 192.0.2.0/24 or 2001:db8::/32"
        raise _Unreadable(PolicyFlaw("ips", message, text)) from None
    if isinstance(network, IPv6Network) and network.subnet_of(_MAPPED):
        low = int(network.network_address) & 0xFFFF_FFFF
        return IPv4Network((low, network.prefixlen - _MAPPED.prefixlen))
    return network


def _domain(text: str) -> str:
    name = ascii_name(text)
    if name is None:
        message = f"{text!r} is not a domain name such as example.com"
        raise _Unreadable(PolicyFlaw("from_domains", message, text))
    return name


def _address(text: str) -> str:
    mailbox = parse_path(text)
    if mailbox is None or mailbox.domain.startswith("["):
        message = f"{text!r} is not an e-mail address such as news@example.com"
        raise _Unreadable(PolicyFlaw("from_addresses", message, text))
    return str(mailbox)


def _rate(text: str) -> Rate:
    found = _RATE.fullmatch(text)
    if found is None:
        message = f"{text!r} is not one: 10/s and 600/m are (recipients per second or minute)"
        raise _Unreadable(PolicyFlaw("rate", message, text))
    return Rate(_count(int(found[1]), "rate"), _UNIT_S[found[2]])


def _count(number: int, field: str) -> int:
    if not 1 <= number <= NUMBER_MAX:
        raise _Unreadable(PolicyFlaw(field, f"wants a number from 1 to {NUMBER_MAX}", str(number)))
    return number


def _moment(text: str, now_ms: int) -> int:
    if (found := _DURATION.fullmatch(text)) is not None:
        moment_ms = now_ms + int(found[1]) * _UNIT_S[found[2]] * 1000
    else:
        moment_ms = _date_time_ms(text)
    if moment_ms > _LAST_MS:
        message = f"{text!r} is after the year 9999; leave it out for a key that does not expire"
        raise _Unreadable(PolicyFlaw("expires_at", message, text))
    if moment_ms <= now_ms:
        message = f"{text!r} is not in the future"
        raise _Unreadable(PolicyFlaw("expires_at", message, text))
    return moment_ms


def _date_time_ms(text: str) -> int:
    try:
        if not _DATE_TIME.fullmatch(text):
            raise ValueError  # noqa: TRY301  # one answer for every way of not being one
        return round(datetime.fromisoformat(text.upper()).timestamp() * 1000)
    except (ValueError, OverflowError):
        message = f"{text!r} is neither a time such as 2027-01-31T12:00:00Z nor a duration such as 30d"
        raise _Unreadable(PolicyFlaw("expires_at", message, text)) from None


class _Stored(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The column's JSON. A field that this release does not know may be a limit: refused, never overlooked."""

    ips: tuple[str, ...] = ()
    from_domains: tuple[str, ...] = ()
    from_addresses: tuple[str, ...] = ()
    rate: tuple[int, int] | None = None
    daily: int | None = None
    max_recipients: int | None = None
    expires_ms: int | None = None


_decoder: Final = msgspec.json.Decoder(_Stored)


def encode_policy(policy: KeyPolicy) -> str:
    """Print the policy for the database."""
    stored = _Stored(
        ips=tuple(str(network) for network in policy.ips),
        from_domains=tuple(sorted(policy.from_domains)),
        from_addresses=tuple(sorted(policy.from_addresses)),
        rate=None if policy.rate is None else (policy.rate.count, policy.rate.window_s),
        daily=policy.daily,
        max_recipients=policy.max_recipients,
        expires_ms=policy.expires_ms,
    )
    return msgspec.json.encode(stored).decode()


def decode_policy(text: str) -> KeyPolicy:
    """Read it back; raises msgspec.ValidationError or ValueError on anything else (a fault: the key must not work)."""
    stored = _decoder.decode(text)
    return KeyPolicy(
        ips=tuple(ip_network(network) for network in stored.ips),
        from_domains=frozenset(stored.from_domains),
        from_addresses=frozenset(stored.from_addresses),
        rate=None if stored.rate is None else Rate(*stored.rate),
        daily=stored.daily,
        max_recipients=stored.max_recipients,
        expires_ms=stored.expires_ms,
    )
