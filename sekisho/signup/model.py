"""What a new account may send at first, and whether it has earned more. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sekisho.ids import AccountId

WINDOW_DAYS: Final = 30
"""What was sent in so many days counts."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the operator has configured."""

    daily_credits: int
    lift_after_ms: int
    lift_delivered: int
    lift_bounces_percent: float


@dataclass(frozen=True, slots=True)
class Probation:
    """An account whose first limit stands."""

    account_id: AccountId
    since_ms: int


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of an account's and its subusers' mail within the window, in recipients."""

    delivered: int
    lost: int
    """Bounces and blocks."""


def is_earned(terms: Terms, sent: Sent, *, since_ms: int, now_ms: int) -> bool:
    """Judge whether the first limit is lifted: long enough here, enough delivered, and little of it unwanted."""
    ended = sent.delivered + sent.lost
    return (
        now_ms - since_ms >= terms.lift_after_ms
        and sent.delivered >= terms.lift_delivered
        and 100 * sent.lost <= terms.lift_bounces_percent * ended
    )
