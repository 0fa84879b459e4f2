"""The relay worker, put together: the composition root of accepting, queueing and delivering."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, cast

import structlog

from sekisho import sealing
from sekisho.audit.keeper import HeadKeeper
from sekisho.changes import Change, Follower
from sekisho.delivery.capture import FILE_NAME as CAPTURED
from sekisho.delivery.capture import CaptureStore
from sekisho.delivery.routes import Routes
from sekisho.delivery.scheduler import Scheduler
from sekisho.domains import Relay, SenderDomains
from sekisho.doors.smtp.admission import SharedCounts
from sekisho.doors.smtp.listener import Listener, TlsMode, raise_descriptor_limit
from sekisho.doors.smtp.tls import CertificateError, server_context
from sekisho.events.mover import Mover
from sekisho.events.record import encode
from sekisho.identity import Identity
from sekisho.ipaccess.activity import Method
from sekisho.leaks.screening import Screening
from sekisho.policy import sending
from sekisho.ports.clock import SystemClock
from sekisho.preparation.prepare import SigningPreparer
from sekisho.preparation.signers import SignerLost, Signers
from sekisho.queue.holds import Holds
from sekisho.queue.local import LocalSpool
from sekisho.queue.retry import RetryPolicy
from sekisho.queue.watch import SpoolChange
from sekisho.refusal import Reason
from sekisho.service.auditing import head_keeper
from sekisho.service.certificates import Certificate
from sekisho.service.config import Config, DeliveryMode
from sekisho.service.crowd import Crowd
from sekisho.service.destinations import sites
from sekisho.service.erasing import eraser
from sekisho.service.gate import SmtpGate
from sekisho.service.ipaccess import roll_backs
from sekisho.service.keyuse import SCREENING_THREADS
from sekisho.service.limits import door_limits
from sekisho.service.moving import mover
from sekisho.service.passes import Passes
from sekisho.service.periodic import Periodic
from sekisho.service.routing import Routing
from sekisho.service.shaping import shaping
from sekisho.service.stores import stores
from sekisho.service.worker import Channel, WorkerContext, run
from sekisho.submission import Intake

VERP_PURPOSE: Final = "return path tokens"

_SWITCH_S: Final = 0.000_05
"""How long the loop may keep the interpreter from the spool's writer, which wants it back after every statement: at
1 ms a commit of 50 messages was 13 ms of waiting for it, and the p99 of a 250 twice as long."""

_CONTROL_THREADS: Final = 2

_log = structlog.get_logger()


def run_relay(context: WorkerContext) -> int:
    """Run a relay worker until it has drained; its exit status."""
    # Before there is a loop or a thread: only then is a fork safe.
    signers = Signers.fork(_signing_processes(context.worker_count))
    return run(context, partial(_main, signers=signers))


async def _main(context: WorkerContext, channel: Channel, *, signers: Signers) -> int:
    sys.setswitchinterval(_SWITCH_S)
    draining: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    crowd = Crowd(SystemClock())
    await signers.connect(partial(_lost, draining), gives_way=crowd.goes_first)
    async with _Worker(context, signers, crowd).open() as worker:
        channel.listen(on_reload=worker.reload, on_drain=draining.set_result)
        await worker.start()
        # What start-up made lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        # Messages are freed by their last reference; the collector looks for cycles, of which there are few.
        gc.set_threshold(50_000, 20, 50)
        channel.ready()
        try:
            deadline_s = await draining
        except SignerLost:
            await worker.blame()
            raise
        await worker.drain(deadline_s)
    return 0


def _lost(draining: asyncio.Future[float]) -> None:
    if not draining.done():
        draining.set_exception(SignerLost())


class _Worker:
    """All parts of one relay worker, each made here and handed exactly what it uses."""

    def __init__(self, context: WorkerContext, signers: Signers, crowd: Crowd) -> None:
        self._context = context
        self._signers = signers
        config, directory = context.config, context.directory
        delivery = config.delivery
        self._clock = clock = SystemClock()
        captures = delivery.mode is DeliveryMode.CAPTURE

        # Facts: the control database behind caches that the change feed empties.
        self._threads = ThreadPoolExecutor(_CONTROL_THREADS, thread_name_prefix="control")
        self._screening = ThreadPoolExecutor(SCREENING_THREADS, thread_name_prefix="screening")
        places = stores(config, directory)
        self._control = places.open_control()
        self._follower = Follower(self._control, self._apply)
        sealer = sealing.load(config.storage.master_key_file or directory.master_key, make=False)
        relay = Relay(config.server.hostname, delivery.source_addresses)
        passes = Passes(self._control, Method.SMTP, threads=self._threads, clock=clock, feed_age_s=self._follower.age_s)
        self._verifier = passes.verifier
        self._domains = SenderDomains(self._control, threads=self._threads, sealer=sealer, relay=relay)
        self._holds = Holds(self._control, threads=self._threads, on_change=self._holds_changed)
        self._routing = Routing(delivery.routes, self._control, threads=self._threads, on_change=self._rerouted)

        # The queue, and the way out of it.
        self._spool = LocalSpool(
            directory.spool,
            encode=encode,
            clock=clock,
            bell=context.bell,
            on_change=self._spool_changed,
            on_adopted=self._adopted,
        )
        preparer = SigningPreparer(
            domains=self._domains,
            signers=signers,
            hostname=config.server.hostname,
            verp_secret=sealer.derive(VERP_PURPOSE),
            clock=clock,
            deleted=self._holds.deleted,
        )
        self._capture = CaptureStore(directory.path / CAPTURED) if captures else None
        self._scheduler = Scheduler(
            self._spool,
            preparer,
            clock=self._spool.clock,
            wall=clock,
            hostname=config.server.hostname,
            routes=Routes(),
            holds=self._holds.current,
            sites=sites(config, clock),
            shaping=shaping(delivery, context.worker_count),
            retry=RetryPolicy(delivery.retry_first_s, delivery.retry_max_s, delivery.max_age_s),
            capture=self._capture,
            flights=self._spool.flights,
            source_addresses=[str(address) for address in delivery.source_addresses],
        )

        # The way in.
        intake = Intake(
            spool=self._spool,
            domains=self._domains,
            body_path=self._spool.body_path,
            hostname=config.server.hostname,
            node=self._spool.node,
            clock=clock,
            recipient=sending.may_mail,
            screen=Screening(self._control, self._screening),
            on_taken=passes.on_taken,
        )
        gate = SmtpGate(
            verifier=self._verifier,
            intake=intake,
            offer=self._scheduler.offer,
            rescan=self._scheduler.rescan,
            clock=clock,
            crowd=crowd,
            on_refused=passes.on_refused,
        )
        # What is done once per data directory is done beside the web door; without one, by the first relay worker.
        once: tuple[Mover | HeadKeeper | Periodic, ...] = ()
        if not context.has_web and context.index == 0:
            events = places.open_events()
            once = (
                mover(directory, events),
                head_keeper(config, directory, self._control),
                roll_backs(self._control, clock),
                eraser(self._control, events, directory.spool, clock),
            )
        self._background: tuple[Mover | HeadKeeper | Periodic, ...] = (*passes.writers, *once)
        self._descriptors = raise_descriptor_limit()
        self._listener = Listener(
            [(bound.socket, TlsMode(bound.tls.value)) for bound in context.listeners],
            gate,
            hostname=config.server.hostname,
            tls=_tls_context(config, context.certificate),
            limits=door_limits(config, context.worker_count, self._descriptors),
            counts=cast("SharedCounts", context.shared),
            worker=context.index,
            spill_directory=self._spool.incoming / str(context.index),
            clock=clock,
        )

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[_Worker]:
        """Run what runs beside the doors; at the end everything is let go of, the spool last."""
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._holds.run(), name="holds"),
                    group.create_task(self._routing.run(), name="routing"),
                ]
                yield self
                for task in tasks:
                    task.cancel()
        finally:
            for work in self._background:
                await asyncio.to_thread(work.stop)
            await self._spool.close()
            await self._signers.close()
            await asyncio.to_thread(self._follower.stop)
            self._threads.shutdown()
            self._screening.shutdown()
            self._control.close()

    async def start(self) -> None:
        """Open the doors, once what they lean on is there."""
        self._follower.start()
        await self._follower.confirmed()
        await self._holds.loaded()
        await self._routing.load()
        self._scheduler.use_routes(self._routing.routes)
        self._spool.start()
        self._scheduler.start()
        for work in self._background:
            work.start()
        await self._listener.start()

    async def drain(self, deadline_s: float) -> None:
        """Close the way in, then let what is under way go out; what waits stays in the spool."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + deadline_s
        await self._listener.drain(deadline_s / 2)
        await self._scheduler.drain(max(0.0, end_s - loop.time()))

    async def blame(self) -> None:
        """A signing process died, and this worker ends with it: what it was signing counts as a fault of ours."""
        await self._scheduler.blame_preparing()

    def reload(self, config: Config, certificate: Certificate) -> None:
        self._listener.apply(door_limits(config, self._context.worker_count, self._descriptors))
        self._routing.use(config.delivery.routes)
        self._scheduler.use_shaping(shaping(config.delivery, self._context.worker_count))
        try:
            self._listener.apply_tls(_tls_context(config, certificate))
        except CertificateError as error:
            _log.error("certificate.refused", reason=str(error))

    def _apply(self, changes: Sequence[Change]) -> None:
        """Hand news of control data to whoever remembers some of it."""
        for follower in (self._verifier, self._domains, self._holds, self._routing):
            follower.apply(changes)
        self._listener.expel(self._is_ended)

    def _is_ended(self, identity: Identity) -> bool:
        """Whether a session's pass is no longer good: it is told at its next command, whatever that is."""
        refused = self._verifier.admits(identity, self._clock.now_ms())
        return refused is not None and refused.reason is Reason.AUTH_ENDED

    # The scheduler is made last of those that call it: these are looked up when they are called.

    def _holds_changed(self) -> None:
        self._scheduler.holds_changed()

    def _spool_changed(self, change: SpoolChange) -> None:
        self._scheduler.changed(change)

    def _adopted(self) -> None:
        self._scheduler.rescan()

    def _rerouted(self, routes: Routes) -> None:
        self._scheduler.use_routes(routes)


def _signing_processes(workers: int) -> int:
    """As many as there are cores, shared among the workers; they are idle unless they are needed."""
    return max(1, (os.cpu_count() or 1) // workers)


def _tls_context(config: Config, certificate: Certificate) -> ssl.SSLContext:
    return server_context(certificate.chain_pem, certificate.key_pem, config.tls.minimum_version.value)
