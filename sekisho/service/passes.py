"""Who is let in at a door, and what is noted of who comes, put together: the same for SMTP and the Web API."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import Final

from sekisho.apikeys.verifier import Verifier
from sekisho.audit.refusals import Refusals
from sekisho.db import Database
from sekisho.identity import Identity, IPAddress
from sekisho.ipaccess.activity import Activity, Method
from sekisho.leaks.canary import Canaries
from sekisho.ports.clock import Clock
from sekisho.queue.model import NewMessage
from sekisho.refusal import Reason
from sekisho.service.auditing import noted, refusal_writer
from sekisho.service.ipaccess import activity_writer
from sekisho.service.keyuse import canary_writer, key_use, noting, taken, use_writer
from sekisho.service.periodic import Periodic
from sekisho.submission import Submission


class Passes:
    """One worker's verifier with its collectors; whoever makes it starts and stops the ``writers``."""

    def __init__(
        self, control: Database, door: Method, *, threads: Executor, clock: Clock, feed_age_s: Callable[[], float]
    ) -> None:
        activity = Activity(control, door, clock.now_ms)
        refusals = Refusals(control, door=door.value, now_ms=clock.now_ms)
        canaries = Canaries(control, door=door.value, now_ms=clock.now_ms)
        use = key_use(control, clock)
        self.on_refused: Final[Callable[[Reason, IPAddress | None, Identity | None], None]] = partial(noted, refusals)
        self.on_taken: Final[Callable[[Submission, NewMessage], None]] = partial(taken, use)
        self.verifier: Final = Verifier(
            control,
            threads=threads,
            clock=clock,
            feed_age_s=feed_age_s,
            on_attempt=noting(activity, use),
            on_refused=self.on_refused,
            on_canary=canaries.used,
        )
        self.writers: Final[tuple[Periodic, ...]] = (
            activity_writer(activity),
            use_writer(use),
            canary_writer(canaries),
            refusal_writer(refusals),
        )
