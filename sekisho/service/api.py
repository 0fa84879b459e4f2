"""The Web API of a web worker, put together: the composition root of that door."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, cast

from sekisho import sealing
from sekisho.changes import Change, Follower
from sekisho.db import Database, DatabaseUnavailable
from sekisho.domains import Relay, SenderDomains
from sekisho.doors.api.admission import Admission
from sekisho.doors.api.app import Parts, build
from sekisho.doors.api.v3.mail_body import BodyMemory
from sekisho.doors.api.v3.mail_send import Mailing
from sekisho.doors.health import Application
from sekisho.doors.http.ratelimit import Paces
from sekisho.doors.http.store import Store
from sekisho.events.record import encode
from sekisho.ids import KeyId
from sekisho.ipaccess.activity import Method
from sekisho.leaks.screening import Screening
from sekisho.letters.writing import Place
from sekisho.policy import sending
from sekisho.ports.clock import Clock, SystemClock
from sekisho.queue.local import LocalSpool
from sekisho.queue.locks import LockTimeoutError
from sekisho.queue.operator import Operator
from sekisho.queue.selection import Selection
from sekisho.queue.watch import SpoolSuspectError
from sekisho.service.config import Config
from sekisho.service.keyuse import SCREENING_THREADS
from sekisho.service.letters import LetterMailer
from sekisho.service.notices import NoticeMailer
from sekisho.service.ownmail import OwnMail
from sekisho.service.passes import Passes
from sekisho.service.worker import WorkerContext
from sekisho.submission import Intake

_LOGIN_THREADS: Final = 2
"""Of their own, for keys and From domains: a slow change must not keep others from logging in and sending."""

_STORE_THREADS: Final = 4

_EVENT_THREADS: Final = 2
"""Of their own: counting what an account sent may take seconds, and changes and mail/send must not wait for it."""

_BODY_THREADS: Final = 2
"""Large requests decoded and composed at a time."""


class Api:
    """Made on the loop; then ``start``, at the end ``stop``."""

    def __init__(self, context: WorkerContext, control: Database, events: Database) -> None:
        self._config = config = context.config
        self._clock: Final = SystemClock()
        self._logins: Final = ThreadPoolExecutor(_LOGIN_THREADS, thread_name_prefix="login")
        self._threads: Final = ThreadPoolExecutor(_STORE_THREADS, thread_name_prefix="store")
        self._events: Final = ThreadPoolExecutor(_EVENT_THREADS, thread_name_prefix="events")
        self._bodies: Final = ThreadPoolExecutor(_BODY_THREADS, thread_name_prefix="body")
        self._screening: Final = ThreadPoolExecutor(SCREENING_THREADS, thread_name_prefix="screening")
        self._follower: Final = Follower(control, self._apply)
        self._passes: Final = Passes(
            control, Method.API, threads=self._logins, clock=self._clock, feed_age_s=self._follower.age_s
        )
        self._verifier: Final = self._passes.verifier
        relay = Relay(config.server.hostname, config.delivery.source_addresses)
        sealer = sealing.load(config.storage.master_key_file or context.directory.master_key, make=False)
        self._domains: Final = SenderDomains(control, threads=self._logins, sealer=sealer, relay=relay)
        # Without a slot: this process delivers nothing, and rings for the workers that do.
        self._spool: Final = LocalSpool(
            context.directory.spool, encode=encode, clock=self._clock, with_slot=False, bell=context.bell
        )
        self._mailing: Final = Mailing(
            intake=Intake(
                spool=self._spool,
                domains=self._domains,
                body_path=self._spool.body_path,
                hostname=config.server.hostname,
                node=self._spool.node,
                clock=self._clock,
                recipient=sending.may_mail,
                screen=Screening(control, self._screening),
                on_taken=self._passes.on_taken,
            ),
            admits=lambda identity: self._verifier.admits(identity, self._clock.now_ms()),
            memory=BodyMemory(),
            threads=self._bodies,
            incoming=self._spool.incoming / "web",
            hostname=config.server.hostname,
            on_refused=self._passes.on_refused,
        )
        mail = OwnMail(
            control,
            threads=self._threads,
            intake=self._mailing.intake,
            sender=lambda: self._config.server.notices_address,
            hostname=config.server.hostname,
        )
        place = Place(config.server.hostname, config.server.public_url)
        self._notices: Final = NoticeMailer(mail, hostname=config.server.hostname, clock=self._clock)
        self._letters: Final = LetterMailer(mail, place, clock=self._clock)
        self._telling: tuple[asyncio.Task[None], ...] = ()
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
                        on_refused=self._passes.on_refused,
                    ),
                    store=store,
                    event_store=Store(events, self._events),
                    clock=self._clock,
                    relay=relay,
                    spool=context.directory.spool,
                    purging=partial(purge, context.directory.spool, self._clock),
                    mailing=self._mailing,
                )
            ),
        )

    async def start(self) -> None:
        """Begin to follow changes; returns once caches may be trusted."""
        self._follower.start()
        await self._follower.confirmed()
        await asyncio.to_thread(self._mailing.open)
        self._spool.start()
        for writer in self._passes.writers:
            writer.start()
        self._telling = (
            asyncio.create_task(self._notices.run(), name="notices"),
            asyncio.create_task(self._letters.run(), name="letters"),
        )

    async def stop(self) -> None:
        for telling in self._telling:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling
        for writer in self._passes.writers:
            await asyncio.to_thread(writer.stop)
        await asyncio.to_thread(self._follower.stop)
        self._bodies.shutdown()
        self._screening.shutdown()
        await self._spool.close()
        self._logins.shutdown()
        self._threads.shutdown()
        self._events.shutdown()

    def reload(self, config: Config) -> None:
        self._config = config

    def _apply(self, changes: Sequence[Change]) -> None:
        """Hand news of control data to whoever remembers some of it."""
        self._verifier.apply(changes)
        self._domains.apply(changes)


def purge(spool: Path, clock: Clock, key_id: str, most: int) -> int:
    """Drop about so many of a key's queued recipients, each with its event; how many."""
    try:
        with Operator(spool, clock=clock, encode=encode) as operator:
            return operator.drop(Selection(key=KeyId(key_id)), most=most)
    except (LockTimeoutError, SpoolSuspectError, sqlite3.Error) as error:
        message = f"the spool cannot be used: {error}"
        raise DatabaseUnavailable(message) from error
