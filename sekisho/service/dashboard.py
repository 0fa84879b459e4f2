"""The dashboard of a web worker, put together: the composition root of that door."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, cast
from urllib.parse import urlsplit

from sekisho import sealing, sessions
from sekisho.accounts import Account
from sekisho.audit.refusals import Refusals
from sekisho.db import Database
from sekisho.domains import Relay
from sekisho.doors.dashboard.app import build
from sekisho.doors.dashboard.deps import Parts
from sekisho.doors.health import Application
from sekisho.doors.http.store import Store
from sekisho.identity import IPAddress
from sekisho.ids import AccountId, UserId
from sekisho.ipaccess.activity import Activity, Method
from sekisho.oidc import Client, Registration
from sekisho.ports.clock import Clock, SystemClock
from sekisho.ports.web import WebClient
from sekisho.service.api import purge
from sekisho.service.auditing import refusal_writer
from sekisho.service.config import Config, ListenerTls
from sekisho.service.ipaccess import activity_writer
from sekisho.service.periodic import Periodic
from sekisho.service.probation import terms_of
from sekisho.service.worker import WorkerContext
from sekisho.users import Hasher, Pace, pace
from sekisho.users.login import Login

_STORE_THREADS: Final = 4
"""Of its own: people must not wait for programs, nor programs for people."""

_SUBMISSION_PORT: Final = 587
"""RFC 6409's."""

_EVENT_THREADS: Final = 2

_SWEEP_S: Final = 300.0

BAD_LOGIN: Final = "auth.bad_login"
"""The audit log's reason for a password or a second factor that was not right."""


class Dashboard:
    """Made on the loop; then ``start``, at the end ``stop``."""

    def __init__(self, context: WorkerContext, control: Database, events: Database) -> None:
        self._config = config = context.config
        clock = SystemClock()
        self._threads: Final = ThreadPoolExecutor(_STORE_THREADS, thread_name_prefix="pages")
        self._events: Final = ThreadPoolExecutor(_EVENT_THREADS, thread_name_prefix="page events")
        self._hasher: Final = Hasher()
        self._activity: Final = Activity(control, Method.WEB, clock.now_ms)
        self._refusals: Final = Refusals(control, door=Method.WEB.value, now_ms=clock.now_ms)
        self._writers: Final = (
            activity_writer(self._activity),
            refusal_writer(self._refusals),
            sweeper(control, clock),
        )
        sealer = sealing.load(config.storage.master_key_file or context.directory.master_key, make=False)
        store = Store(control, self._threads)
        tries = Pace(sealer.derive("login pace"))
        # The two spell the same ASGI callable.
        self.app: Final = cast(
            "Application",
            build(
                Parts(
                    store=store,
                    event_store=Store(events, self._events),
                    clock=clock,
                    relay=Relay(config.server.hostname, config.delivery.source_addresses),
                    sealer=sealer,
                    spool=context.directory.spool,
                    purging=partial(purge, context.directory.spool, clock),
                    hasher=self._hasher,
                    login=Login(store, self._hasher, tries, self._failed),
                    pace=tries,
                    audit_heads=context.directory.audit_heads,
                    public_url=config.server.public_url,
                    trusted_proxies=lambda: self._config.http.trusted_proxies,
                    on_attempt=self._attempted,
                    on_failed=self._failed,
                    oidc=_oidc(config, clock),
                    signup_mode=config.server.signup.value,
                    terms=terms_of(config.signup),
                    smtp_port=_smtp_port(config),
                )
            ),
        )

    def start(self) -> None:
        for writer in self._writers:
            writer.start()

    def stop(self) -> None:
        """End; what is under way is finished. Blocks."""
        for writer in self._writers:
            writer.stop()
        self._hasher.close()
        self._threads.shutdown()
        self._events.shutdown()

    def reload(self, config: Config) -> None:
        self._config = config

    def _attempted(self, home: Account, address: IPAddress, allowed: bool) -> None:
        self._activity.came(home.id, address, allowed)

    def _failed(self, address: IPAddress, tenant_id: AccountId | None, user_id: UserId | None) -> None:
        """Have the audit log tell of it, folded. Who nobody is goes to the operator's, without what was typed."""
        self._refusals.note(BAD_LOGIN, str(address), owner_id=tenant_id, key_id=None, user_id=user_id)


def sweeper(control: Database, clock: Clock) -> Periodic:
    """Remove sessions that are over, and counts of tries of windows that are. More than one do no harm."""

    def sweep() -> None:
        with control.begin() as tx:
            sessions.sweep(tx, clock.now_ms())
            pace.prune(tx, clock.now_ms())

    return Periodic("sessions", sweep, every_s=_SWEEP_S)


def _oidc(config: Config, clock: Clock) -> Client | None:
    ours = config.oidc
    if not ours.issuer:
        return None
    registration = Registration(
        issuer=ours.issuer,
        client_id=ours.client_id,
        client_secret=ours.client_secret,
        redirect_uri=f"{config.server.public_url}/login/oidc/callback",
        second_factors=frozenset(ours.second_factor_amr),
        name=ours.name or urlsplit(ours.issuer).hostname or ours.issuer,
    )
    return Client(registration, WebClient(), clock)


def _smtp_port(config: Config) -> int:
    """Name the port that people are told to hand in mail at: 587 unless there is none."""
    ports = [one.address.port for one in config.smtp.listeners if one.tls is ListenerTls.STARTTLS and one.address.port]
    return ports[0] if ports and _SUBMISSION_PORT not in ports else _SUBMISSION_PORT
