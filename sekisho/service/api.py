"""The Web API of a web worker, put together: the composition root of that door."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, cast

from sekisho.apikeys.verifier import Verifier
from sekisho.changes import Change, Follower
from sekisho.db import Database
from sekisho.domains import Relay
from sekisho.doors.api.admission import Admission
from sekisho.doors.api.app import Parts, build
from sekisho.doors.api.ratelimit import Paces
from sekisho.doors.api.store import Store
from sekisho.doors.health import Application
from sekisho.ipaccess.activity import Activity, Method
from sekisho.ports.clock import SystemClock
from sekisho.service.config import Config
from sekisho.service.ipaccess import activity_writer
from sekisho.service.worker import WorkerContext

_LOGIN_THREADS: Final = 2
"""Of their own: a slow change must not keep others from logging in."""

_STORE_THREADS: Final = 4


class Api:
    """Made on the loop; then ``start``, at the end ``stop``."""

    def __init__(self, context: WorkerContext, control: Database, events: Database) -> None:
        self._config = config = context.config
        self._clock: Final = SystemClock()
        self._logins: Final = ThreadPoolExecutor(_LOGIN_THREADS, thread_name_prefix="login")
        self._threads: Final = ThreadPoolExecutor(_STORE_THREADS, thread_name_prefix="store")
        self._follower: Final = Follower(control, self._apply)
        activity = Activity(control, Method.API, self._clock.now_ms)
        self._activity_writer: Final = activity_writer(activity)
        self._verifier: Final = Verifier(
            control,
            threads=self._logins,
            clock=self._clock,
            feed_age_s=self._follower.age_s,
            on_attempt=activity.attempt,
        )
        store = Store(control, self._threads)
        # The two spell the same ASGI callable.
        self.app: Final = cast(
            "Application",
            build(
                Parts(
                    admission=Admission(
                        verifier=self._verifier,
                        store=store,
                        paces=Paces(),
                        clock=self._clock,
                        trusted_proxies=lambda: self._config.http.trusted_proxies,
                    ),
                    store=store,
                    event_store=Store(events, self._threads),
                    clock=self._clock,
                    relay=Relay(config.server.hostname, config.delivery.source_addresses),
                    spool=context.directory.spool,
                )
            ),
        )

    async def start(self) -> None:
        """Begin to follow changes; returns once caches may be trusted."""
        self._follower.start()
        await self._follower.confirmed()
        self._activity_writer.start()

    async def stop(self) -> None:
        await asyncio.to_thread(self._activity_writer.stop)
        await asyncio.to_thread(self._follower.stop)
        self._logins.shutdown()
        self._threads.shutdown()

    def reload(self, config: Config) -> None:
        self._config = config

    def _apply(self, changes: Sequence[Change]) -> None:
        """Hand news of control data to whoever remembers some of it."""
        self._verifier.apply(changes)
