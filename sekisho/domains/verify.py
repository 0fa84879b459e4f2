"""Compare DNS with what a domain's records must say; ``actions.record_check`` writes down what came of it."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Sequence
from dataclasses import dataclass

from sekisho.domains.model import PROOF, Record, RecordName
from sekisho.ports.dns import Dns, Exchangers, NoRecords, NoSuchName, Texts, TryLater
from sekisho.wire.dkim.keys import record_matches


class Sight(enum.StrEnum):
    """What a look at one record came to."""

    VALID = "valid"
    MISSING = "missing"  # DNS said: nothing there
    DIFFERENT = "different"  # something is there, and it is not what must be
    UNKNOWN = "unknown"  # DNS did not say; whatever was true before still is


@dataclass(frozen=True, slots=True)
class Finding:
    """One record, and what DNS said to it."""

    record: Record
    sight: Sight
    found: tuple[str, ...]
    """What is there instead, for people; bounded."""
    reason: str | None
    """A sentence in the vendor's manner; None when valid."""


_SHOWN = 5
_SHOWN_LENGTH = 500


async def look(dns: Dns, records: Sequence[Record]) -> tuple[Finding, ...]:
    """Ask for all records at once and judge each."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_look_at(dns, record), name=f"look at {record.host}") for record in records]
    return tuple(task.result() for task in tasks)


async def _look_at(dns: Dns, record: Record) -> Finding:
    if record.type == "mx":
        return judge(record, await dns.exchangers(record.host))
    return judge(record, await dns.texts(record.host))


def judge(record: Record, answer: Texts | Exchangers | NoSuchName | NoRecords | TryLater) -> Finding:
    """Compare one answer with what the record must say."""
    match answer:
        case TryLater(reason=reason):
            text = f"The DNS gave no answer for {record.host} ({reason}). Try again later."
            return Finding(record, Sight.UNKNOWN, (), text)
        case NoSuchName():
            text = f'Expected {_kind(record)} "{record.data}", but there is no such host.'
            return Finding(record, Sight.MISSING, (), text)
        case NoRecords():
            text = f'Expected {_kind(record)} "{record.data}", but there is no {record.type.upper()} record.'
            return Finding(record, Sight.MISSING, (), text)
        case Texts(values=values):
            return _compared(record, values, _is_right_text(record, values))
        case Exchangers(values=exchangers):
            hosts = tuple(exchanger.host for exchanger in exchangers)
            # All of them: bounces that go elsewhere are lost to us.
            right = bool(hosts) and all(host == record.data.lower().rstrip(".") for host in hosts)
            return _compared(record, hosts, right)


def is_proof(findings: Sequence[Finding]) -> bool:
    """Tell whether everything that makes a domain valid was seen."""
    return {finding.record.name for finding in findings if finding.sight is Sight.VALID} >= PROOF


def is_disproof(findings: Sequence[Finding]) -> bool:
    """Tell whether DNS itself said that something of it is not there; no answer says nothing."""
    return any(f.record.name in PROOF and f.sight in {Sight.MISSING, Sight.DIFFERENT} for f in findings)


def _is_right_text(record: Record, values: Sequence[str]) -> bool:
    if record.name is RecordName.SUBDOMAIN_SPF:
        # Two SPF records at one name are a permanent error for every receiver (RFC 7208 §4.5).
        policies = [value for value in values if value.lower().split(" ", 1)[0] == "v=spf1"]
        return len(policies) == 1 and policies[0].lower().split() == record.data.lower().split()
    # Two key records at one selector leave it to chance which one a verifier takes (RFC 6376 §3.6.2.2).
    keys = [value for value in values if "p=" in value]
    return len(keys) == 1 and record_matches(keys[0], record.data)


def _compared(record: Record, values: Sequence[str], right: bool) -> Finding:
    shown = tuple(_printable(value) for value in values[:_SHOWN])
    if right:
        return Finding(record, Sight.VALID, shown, None)
    listed = ", ".join(f'"{value}"' for value in shown)
    return Finding(record, Sight.DIFFERENT, shown, f'Expected {_kind(record)} "{record.data}", but found {listed}.')


def _kind(record: Record) -> str:
    return f"the {record.type.upper()} record at {record.host} to be"


def _printable(value: str) -> str:
    return "".join(character if character.isprintable() else "�" for character in value[:_SHOWN_LENGTH])
