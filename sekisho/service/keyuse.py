"""How a worker's keys are used, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekisho.apikeys.use import KeyUse
from sekisho.identity import Identity, IPAddress
from sekisho.ipaccess.activity import Activity
from sekisho.queue.model import NewMessage
from sekisho.service.periodic import Periodic
from sekisho.submission import Submission

FLUSH_S: Final = 1.0

SCREENING_THREADS: Final = 2
"""Of their own: mail that may carry a key must not keep others from logging in."""


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
