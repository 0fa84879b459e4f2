"""Is this how the key has been used? Facts in, a sentence for its owner out.

A key that comes from a network where it never was, and does there what it never did, is held. What a thief of a key
does: he uses it from a place of his own, and sends much, or as somebody else of the account. Each alone happens to
honest people every day (a new server, a campaign, a new brand), both together hardly ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, func, select

from sekisho import notices
from sekisho.apikeys.actions import hold
from sekisho.apikeys.model import HoldReason
from sekisho.apikeys.tables import find_key
from sekisho.apikeys.use import HOUR_MS, News
from sekisho.apikeys.used import key_address, key_from_domain, key_hour, key_use
from sekisho.audit import By
from sekisho.notices import Kind

DAY_MS: Final = 24 * HOUR_MS

NEW_MS: Final = DAY_MS
"""So long a network or From domain is new: who logs in once and waits an hour is still noticed."""

YOUNG_MS: Final = 7 * DAY_MS
"""Since its first use: a week has the usual days in it."""

ACTIVE_HOURS_MIN: Final = 5
"""Hours in which it sent. With fewer there is nothing to compare with."""

HISTORY_MS: Final = 30 * DAY_MS

ROAMING_MIN: Final = 5
"""New networks in those 30 days, its first day aside: for a key that comes from everywhere, a new one means nothing."""

JUMP_MIN: Final = 200
"""Recipients from the new network: below it, a jump is chance."""

JUMP_FACTOR: Final = 3
"""Times its busiest hour. Campaigns of honest senders seldom grow by more from one to the next."""

DOMAIN_MIN: Final = 50
"""Recipients from the new network when a From domain is new too: more than somebody trying out a new setting mails."""


@dataclass(frozen=True, slots=True)
class Past:
    """How a key was used before the first of its new networks."""

    first_ms: int | None
    """None: never."""
    active_hours: int
    busiest: int
    """Recipients of its busiest hour."""
    networks_lately: int
    """How many were new in the last 30 days, its first day aside."""


@dataclass(frozen=True, slots=True)
class Present:
    """What is new about it."""

    networks: Sequence[str]
    recipients: int
    """Mail handed in from the new networks."""
    hour: int
    """Recipients of this hour, from wherever."""
    domains: Sequence[str]
    """New From domains."""


def judge(past: Past, present: Present, now_ms: int) -> str | None:
    """Say why this is not how the key has been used; None: it may be."""
    if not present.networks or past.first_ms is None or now_ms - past.first_ms < YOUNG_MS:
        return None
    if past.active_hours < ACTIVE_HOURS_MIN or past.networks_lately >= ROAMING_MIN:
        return None
    place = f"it was used from {_some(present.networks)}, from where it never was before"
    if present.recipients >= JUMP_MIN and present.hour >= JUMP_FACTOR * past.busiest:
        return (
            f"{place}, and sent to {present.hour} recipients in an hour; its busiest hour until then had {past.busiest}"
        )
    if present.recipients >= DOMAIN_MIN and present.domains:
        return f"{place}, and with From in {_some(present.domains)}, which it never used before"
    return None


def judge_uses(tx: Connection, news: Sequence[News]) -> None:
    """Judge keys that were just used, and hold those whose use is not theirs."""
    for one in news:
        key = find_key(tx, one.key_id)
        # With a list of addresses its owner has said where it may be used; no need to guess.
        if key is None or key.revoked_ms is not None or key.hold is not None or key.policy.ips:
            continue
        why = _look(tx, one)
        if why is None:
            continue
        by = By("system:anomaly", one.at_ms, one.address or None)
        hold(tx, key, HoldReason.ANOMALY, why, by=by)
        what = f'API key {key.id} ("{key.name}") is held: {why}. It opens nothing, and mail that it has queued waits.'
        then = "If this was you, release the key: what it did so far is then taken for usual. If not, revoke it as"
        text = f"{what} {then} compromised, and make a new one."
        notices.tell(tx, one.owner_id, Kind.KEY_HELD, key.id, text, at_ms=one.at_ms)


def _look(tx: Connection, one: News) -> str | None:
    """Gather the facts about a key, and judge them."""
    used = tx.execute(select(key_use).where(key_use.c.key_id == one.key_id)).one()
    # What its owner has released is no news any more.
    since_ms = max(one.at_ms - NEW_MS, used.trusted_ms or 0)
    mine = key_address.c.key_id == one.key_id
    begun = func.min(key_address.c.first_ms)
    places = select(key_address.c.network, begun.label("begun"), func.sum(key_address.c.recipients).label("recipients"))
    fresh = tx.execute(places.where(mine).group_by(key_address.c.network).having(begun > since_ms)).all()
    if not fresh:
        return None
    began_ms = min(row.begun for row in fresh)
    lately = select(key_address.c.network).where(mine).group_by(key_address.c.network)
    lately = lately.having((begun > max(used.first_ms + DAY_MS, began_ms - HISTORY_MS)) & (begun < began_ms))
    hours = select(func.count(), func.max(key_hour.c.recipients)).where(
        key_hour.c.key_id == one.key_id, key_hour.c.hour < began_ms // HOUR_MS, key_hour.c.recipients > 0
    )
    active_hours, busiest = tx.execute(hours).one()
    this_hour = select(key_hour.c.recipients).where(
        key_hour.c.key_id == one.key_id, key_hour.c.hour == one.at_ms // HOUR_MS
    )
    names = select(key_from_domain.c.domain).where(
        key_from_domain.c.key_id == one.key_id, key_from_domain.c.first_ms >= began_ms
    )
    return judge(
        Past(used.first_ms, active_hours, int(busiest or 0), len(tx.execute(lately).all())),
        Present(
            [row.network for row in fresh],
            sum(int(row.recipients) for row in fresh),
            tx.execute(this_hour).scalar() or 0,
            sorted(tx.execute(names).scalars()),
        ),
        one.at_ms,
    )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
