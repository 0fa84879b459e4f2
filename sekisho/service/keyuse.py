"""How a worker's keys are used, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekisho.apikeys.use import KeyUse
from sekisho.db import Database
from sekisho.identity import Identity, IPAddress
from sekisho.ipaccess.activity import Activity
from sekisho.leaks.anomaly import judge_uses
from sekisho.leaks.canary import Canaries
from sekisho.ports.clock import Clock
from sekisho.queue.model import NewMessage
from sekisho.service.periodic import Periodic
from sekisho.submission import Submission

FLUSH_S: Final = 1.0

SCREENING_THREADS: Final = 2
"""Of their own: mail that may carry a key must not keep others from logging in."""


def key_use(control: Database, clock: Clock) -> KeyUse:
    """Make the collector of a worker; what it writes is judged, and a key held that is used as never before."""
    return KeyUse(control, clock.now_ms, judge_uses)


def canary_writer(canaries: Canaries) -> Periodic:
    """Tell of canary keys that were tried, each second and at the end."""
    return Periodic("canary keys", canaries.flush, every_s=FLUSH_S, last=lambda: canaries.flush(everything=True))


def use_writer(use: KeyUse) -> Periodic:
    """Write what a worker's door has seen of keys, each second and at the end."""
    return Periodic("use of keys", use.flush, every_s=FLUSH_S, last=lambda: use.flush(everything=True))


def noting(activity: Activity, use: KeyUse) -> Callable[[Identity, IPAddress, bool], None]:
    """Make what the verifier tells of each use of a key."""

    def note(identity: Identity, address: IPAddress, allowed: bool) -> None:
        activity.attempt(identity, address, allowed)
        use.used(identity, address, allowed)

    return note


def taken(use: KeyUse, submission: Submission, new: NewMessage) -> None:
    """Take note of mail that was accepted."""
    use.sent(submission.identity, submission.address, new.message.from_domain, len(new.recipients))
