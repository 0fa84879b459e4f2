"""How a worker's keys are used, put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sekisho.apikeys.use import KeyUse
from sekisho.identity import Identity, IPAddress
from sekisho.ipaccess.activity import Activity
from sekisho.service.periodic import Periodic

FLUSH_S: Final = 1.0


def use_writer(use: KeyUse) -> Periodic:
    """Write what a worker's door has seen of keys, each second and at the end."""
    return Periodic("use of keys", use.flush, every_s=FLUSH_S, last=lambda: use.flush(everything=True))


def noting(activity: Activity, use: KeyUse) -> Callable[[Identity, IPAddress, bool], None]:
    """Make what the verifier tells of each use of a key."""

    def note(identity: Identity, address: IPAddress, allowed: bool) -> None:
        activity.attempt(identity, address, allowed)
        use.used(identity, address, allowed)

    return note
