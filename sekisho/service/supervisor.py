"""The supervisor: starts the workers, watches them, starts them again, and ends with them.

Plain synchronous code around one poll(): signals, the workers' lines, and the nearest deadline are all that it waits
for. It binds the sockets and keeps them, so that a worker's end costs no connection that was not that worker's own.

A worker's life::

    due ──fork──▶ starting ──"ready"──▶ serving ──end──▶ due again (after a pause when it keeps failing)
                                            └──drain──▶ gone
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from sekisho import __version__
from sekisho.queue.wake import Bell
from sekisho.service import control, restart, telemetry
from sekisho.service.certificates import Certificate
from sekisho.service.config import Config, ConfigError, Source, in_force, parse
from sekisho.service.control import Drain, Order, Reload
from sekisho.service.datadir import DataDir, Lock
from sekisho.service.privileges import Owner
from sekisho.service.signals import Signals
from sekisho.service.sockets import Bound
from sekisho.service.spawn import spawn
from sekisho.service.telemetry import LogFormat
from sekisho.service.worker import Role, SharedTable, WorkerContext

_HANDLED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Plan:
    """What a supervisor runs, built and bound."""

    source: Source
    config: Config
    directory: DataDir
    lock: Lock
    owner: Owner | None
    """Whom the workers become; None = whoever the supervisor is."""
    bound: Bound
    certificate: Certificate
    shared: SharedTable | None
    mains: Mapping[Role, Callable[[WorkerContext], int]]
    loads: Mapping[Role, Callable[[], None]]
    """Done in a role's process before it becomes its user."""
    gather: Callable[[], Source]
    """Read the configuration again (SIGHUP); raises ConfigError."""
    read_certificate: Callable[[Config], Certificate]
    """Read the certificate again; raises ConfigError."""
    announce: Callable[[], None]
    """Called once, when every worker is ready."""
    log_format: LogFormat
    hang_up_ends: bool = False
    """SIGHUP ends the server instead: it belongs to a terminal (``dev``)."""


class _Worker:
    """One place among the workers, and the process that fills it now."""

    def __init__(self, role: Role, index: int) -> None:
        self.role: Final = role
        self.index: Final = index
        self.pid: int | None = None
        self.channel: socket.socket | None = None
        self.heard = bytearray()
        self.to_say = bytearray()
        self.ready = False
        self.started_at = 0.0
        self.failures = 0
        self.due_at: float | None = 0.0
        """When to start it; None while it runs, or when it is not to run any more."""

    @property
    def name(self) -> str:
        return f"{self.role.value}-{self.index}"


def supervise(plan: Plan) -> int:
    """Run until told to end; the exit status. The caller prepared everything, and releases the lock afterwards."""
    try:
        return _Supervisor(plan).run()
    except Exception:
        _log.exception("supervisor.fault")
        raise


class _Supervisor:
    def __init__(self, plan: Plan) -> None:
        self._plan: Final = plan
        self._source = plan.source
        self._config = plan.config
        self._certificate = plan.certificate
        self._workers: Final = [
            *(_Worker(Role.RELAY, index) for index in range(len(plan.bound.relays))),
            *([_Worker(Role.WEB, 0)] if Role.WEB in plan.mains else []),
        ]
        self._signals: Final = Signals(_HANDLED)
        self._poll: Final = select.poll()
        # Nothing is ever written: a worker that reads the end of it has lost its supervisor.
        self._death, self._life = os.pipe()
        self._bell: Final = Bell.make()
        self._announced = False
        self._kill_at: float | None = None
        """Set while draining: when whoever is left is killed."""
        self._status = 0

    def run(self) -> int:
        with self._signals:
            self._poll.register(self._signals, select.POLLIN)
            try:
                while True:
                    self._start_due()
                    if self._kill_at is not None and not self._running():
                        return self._status
                    self._wait()
                    self._obey(self._signals.take())
                    self._reap()
                    self._kill_late()
            finally:
                self._kill_all()
                os.close(self._life)
                os.close(self._death)
                self._bell.close()

    # Waiting.

    def _wait(self) -> None:
        by_channel = {worker.channel.fileno(): worker for worker in self._workers if worker.channel is not None}
        for descriptor, _happened in self._poll.poll(self._patience_ms()):
            worker = by_channel.get(descriptor)
            if worker is not None:
                self._converse(worker)

    def _patience_ms(self) -> int | None:
        """How long nothing can be due; None = until something happens."""
        deadlines = [worker.due_at for worker in self._workers if worker.due_at is not None]
        if self._kill_at is not None:
            deadlines.append(self._kill_at)
        if not deadlines:
            return None
        return max(0, int((min(deadlines) - time.monotonic()) * 1000) + 1)

    def _converse(self, worker: _Worker) -> None:
        """Hear what a worker says, say what it has not taken yet."""
        channel = worker.channel
        if channel is None:
            return
        try:
            if worker.to_say:
                del worker.to_say[: channel.send(worker.to_say)]
            said = channel.recv(control.WORKER_LINE_MAX_BYTES)
        except BlockingIOError:
            said = None
        except OSError:
            said = b""
        if said is not None:
            worker.heard += said
            if not said or len(worker.heard) > control.WORKER_LINE_MAX_BYTES:
                self._hang_up(worker)
                return
            while (end := worker.heard.find(b"\n")) >= 0:
                line = bytes(worker.heard[:end])
                del worker.heard[: end + 1]
                if control.is_ready(line):
                    self._note_ready(worker)
        self._poll.register(channel, select.POLLIN | (select.POLLOUT if worker.to_say else 0))

    def _hang_up(self, worker: _Worker) -> None:
        if worker.channel is not None:
            self._poll.unregister(worker.channel)
            worker.channel.close()
        worker.channel = None
        worker.heard.clear()
        worker.to_say.clear()

    def _note_ready(self, worker: _Worker) -> None:
        if worker.ready:
            return
        worker.ready = True
        _log.info("worker.ready", worker=worker.name, worker_pid=worker.pid)
        if not self._announced and all(each.ready for each in self._workers):
            self._announced = True
            self._plan.announce()
            _log.info("server.ready", version=__version__, workers=len(self._workers))

    # Starting.

    def _start_due(self) -> None:
        for worker in self._workers:
            if worker.due_at is not None and worker.due_at <= time.monotonic():
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        ours, theirs = socket.socketpair()
        context = self._context(worker, theirs)
        main, load = self._plan.mains[worker.role], self._plan.loads.get(worker.role)

        def settle() -> None:
            # Everything of the supervisor's and of the other workers': each end left open here would keep a death
            # unnoticed, a lock held, or a socket accepting.
            ours.close()
            os.close(self._life)
            self._signals.close()
            self._plan.lock.keep_as_worker()
            for other in self._workers:
                if other.channel is not None:
                    other.channel.close()
            self._close_sockets(keep=context)
            telemetry.configure(self._plan.log_format, self._config.server.log_level, worker.name)
            if load is not None:
                load()

        worker.pid = spawn(f"sekisho-{worker.name}", self._plan.owner, settle, lambda: main(context))
        theirs.close()
        ours.setblocking(False)
        self._poll.register(ours, select.POLLIN)
        worker.channel, worker.ready, worker.due_at = ours, False, None
        worker.started_at = time.monotonic()
        _log.info("worker.started", worker=worker.name, worker_pid=worker.pid)

    def _context(self, worker: _Worker, channel: socket.socket) -> WorkerContext:
        bound = self._plan.bound
        return WorkerContext(
            role=worker.role,
            index=worker.index,
            worker_count=len(bound.relays),
            has_web=Role.WEB in self._plan.mains,
            config=self._config,
            directory=self._plan.directory,
            certificate=self._certificate,
            listeners=bound.relays[worker.index] if worker.role is Role.RELAY else (),
            http=bound.http if worker.role is Role.WEB else None,
            shared=self._plan.shared,
            channel=channel,
            death=self._death,
            log_format=self._plan.log_format,
            bell=self._bell,
        )

    def _close_sockets(self, *, keep: WorkerContext) -> None:
        kept = {id(listener.socket) for listener in keep.listeners} | {id(keep.http)}
        bound = self._plan.bound
        for one in (*(listener.socket for row in bound.relays for listener in row), bound.http):
            if one is not None and id(one) not in kept:
                one.close()

    # Ending.

    def _running(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.pid is not None]

    def _reap(self) -> None:
        for worker in self._running():
            if worker.pid is None:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._bury(worker, os.waitstatus_to_exitcode(status))

    def _bury(self, worker: _Worker, code: int) -> None:
        ended = {"worker": worker.name, "worker_pid": worker.pid}
        ended |= {"signal": signal.Signals(-code).name} if code < 0 else {"status": code}
        self._hang_up(worker)
        worker.pid, worker.ready = None, False
        if worker.role is Role.RELAY and self._plan.shared is not None:
            self._plan.shared.forget(worker.index)
        if self._kill_at is not None:
            _log.info("worker.ended", **ended)
            return
        now = time.monotonic()
        worker.failures = restart.failures_after(worker.failures, now - worker.started_at)
        if not self._announced and worker.failures >= restart.STARTS_MAX:
            _log.error("worker.start_failed", **ended)
            self._drain(status=1)
            return
        pause_s = restart.pause_s(worker.failures)
        worker.due_at = now + pause_s
        _log.error("worker.lost", **ended, failures=worker.failures, again_in_s=pause_s)

    def _drain(self, *, status: int) -> None:
        """Stop accepting and have every worker finish what is open; what is left at the deadline is killed."""
        if self._kill_at is not None:
            return
        self._status = status
        drain_s = self._config.server.drain_s
        # Everybody must be gone within drain_s: workers get a little less, so that they end by themselves.
        self._kill_at = time.monotonic() + drain_s * 0.95
        _log.info("server.draining", drain_s=drain_s)
        # Ours first: once a worker closes its copy too, the kernel refuses new connections.
        self._plan.bound.close()
        for worker in self._workers:
            worker.due_at = None
            self._tell(worker, Drain(deadline_s=drain_s * control.WORKERS_SHARE))

    def _kill_late(self) -> None:
        if self._kill_at is not None and time.monotonic() >= self._kill_at and self._running():
            _log.warning("server.drain_cut_short", workers=[worker.name for worker in self._running()])
            self._kill_all()

    def _kill_all(self) -> None:
        for worker in self._running():
            if worker.pid is not None:
                os.kill(worker.pid, signal.SIGKILL)
        for worker in self._running():
            if worker.pid is not None:
                _, status = os.waitpid(worker.pid, 0)
                self._bury(worker, os.waitstatus_to_exitcode(status))

    # Orders.

    def _obey(self, came: frozenset[signal.Signals]) -> None:
        if signal.SIGINT in came and self._kill_at is not None:
            # Somebody at the terminal who asks twice does not want to wait.
            self._kill_all()
        elif came & {signal.SIGTERM, signal.SIGINT} or (signal.SIGHUP in came and self._plan.hang_up_ends):
            self._drain(status=0)
        elif signal.SIGHUP in came and self._kill_at is None:
            self._reload()

    def _reload(self) -> None:
        """Read configuration and certificate again; what is wrong leaves the old in force."""
        try:
            source = self._reread()
            config, waiting = in_force(self._config, parse(source))
        except ConfigError as problem:
            _log.error("config.refused", key=problem.key, reason=problem.reason)
            return
        try:
            self._certificate = self._replacement(config)
        except ConfigError as problem:
            _log.error("certificate.refused", key=problem.key, reason=problem.reason)
        self._source, self._config = source, config
        telemetry.configure(self._plan.log_format, config.server.log_level, "supervisor")
        if waiting:
            _log.warning("config.needs_restart", keys=list(waiting))
        for worker in self._workers:
            self._tell(worker, Reload(source, self._certificate))
        _log.info("config.reloaded")

    def _reread(self) -> Source:
        """Read the configuration again; raises ConfigError."""
        source = self._plan.gather()
        if self._source.text.strip() and not source.text.strip():
            # Somebody is writing it just now. It would mean defaults: no routes, and mail would bounce for that.
            raise ConfigError(source.name, "the file is empty")
        return source

    def _replacement(self, config: Config) -> Certificate:
        """Read the certificate again; raises ConfigError when the one in force is the better one."""
        fresh = self._plan.read_certificate(config)
        now_ms = time.time_ns() // 1_000_000
        if fresh.expired(now_ms) and not self._certificate.expired(now_ms):
            key = "tls.certificate_file"
            raise ConfigError(key, f"{config.tls.certificate_file}: the certificate has expired")
        return fresh

    def _tell(self, worker: _Worker, order: Order) -> None:
        if worker.channel is None:
            return
        worker.to_say += control.encode_order(order)
        if len(worker.to_say) > control.LINE_MAX_BYTES:
            # It has not listened through many reloads. A fresh one starts with what is in force now.
            _log.error("worker.deaf", worker=worker.name, worker_pid=worker.pid)
            if worker.pid is not None:
                os.kill(worker.pid, signal.SIGKILL)
            return
        self._poll.register(worker.channel, select.POLLIN | select.POLLOUT)
