"""The web worker: the API, the dashboard and health over HTTP, and background work that fits no relay worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from sekisho.db import Database, DatabaseUnavailable, History, SchemaTooNew, SchemaTooOld, check
from sekisho.doors.health import Application, Health, Receive, Scope, Send
from sekisho.ports.clock import SystemClock
from sekisho.queue.layout import Layout
from sekisho.service.api import Api
from sekisho.service.auditing import head_keeper
from sekisho.service.certificates import Certificate
from sekisho.service.config import Config
from sekisho.service.dashboard import Dashboard
from sekisho.service.erasing import eraser
from sekisho.service.http import HttpServer
from sekisho.service.ipaccess import roll_backs
from sekisho.service.moving import mover
from sekisho.service.probation import lifter, terms_of
from sekisho.service.stores import stores
from sekisho.service.worker import Channel, WorkerContext, run

_log = structlog.get_logger()

API_PATH: Final = "/v3"

LEAKED_KEY_PATH: Final = "/leaked-key"
"""Of the API too, but not the vendor's."""

HEALTH_PATHS: Final = frozenset({"/healthz", "/readyz"})


class Background(Protocol):
    """Work in a thread of its own beside the door, such as the event mover."""

    def start(self) -> None:
        """Begin; returns at once."""

    def stop(self) -> None:
        """Finish the step under way and end; may take a moment."""


def run_web(context: WorkerContext) -> int:
    """Run a web worker; its exit status."""
    directory = context.directory
    places = stores(context.config, directory)
    control, events = places.open_control(), places.open_events()
    health = Health(lambda: storage_fault(control, events, Layout(directory.spool)))

    background = (
        mover(directory, events),
        head_keeper(context.config, directory, control),
        roll_backs(control, SystemClock()),
        eraser(control, events, directory.spool, SystemClock()),
        lifter(control, events, terms_of(context.config.signup), SystemClock()),
    )

    async def main(context: WorkerContext, channel: Channel) -> int:
        api = Api(context, control, events)
        dashboard = Dashboard(context, control, events)
        await api.start()
        dashboard.start()

        def reload(config: Config) -> None:
            api.reload(config)
            dashboard.reload(config)

        try:
            app = doors(api.app, dashboard.app, health)
            return await serve_web(context, channel, app, background, reload)
        finally:
            await asyncio.to_thread(dashboard.stop)
            await api.stop()

    return run(context, main)


def doors(api: Application, pages: Application, health: Application) -> Application:
    """Send each request to the application that its path belongs to."""

    async def choose(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        is_api = path in {API_PATH, LEAKED_KEY_PATH} or path.startswith(f"{API_PATH}/")
        app = api if is_api else health if path in HEALTH_PATHS else pages
        await app(scope, receive, send)

    return choose


def storage_fault(control: Database, events: Database, spool: Layout) -> str | None:
    """Why control data, events or the spool cannot be used now; None when they can."""
    if spool.suspect.exists():
        return "storage failed under the spool; it is being recovered"
    try:
        check(control, History.CONTROL)
        check(events, History.EVENTS)
    except (DatabaseUnavailable, SchemaTooNew, SchemaTooOld) as fault:
        return str(fault)
    return None


async def serve_web(
    context: WorkerContext,
    channel: Channel,
    app: Application,
    background: Sequence[Background],
    reload: Callable[[Config], None],
) -> int:
    """Open the door, run the background work beside it, until told to drain; the exit status."""
    server = HttpServer(context, app)

    def on_reload(config: Config, certificate: Certificate) -> None:
        reload(config)
        fault = server.apply(config, certificate)
        if fault is not None:
            _log.error("certificate.refused", reason=fault)

    def on_drain(_deadline_s: float) -> None:
        server.drain()

    channel.listen(on_reload=on_reload, on_drain=on_drain)
    for work in background:
        work.start()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(server.serve(), name="http")
            await server.accepting()
            channel.ready()
    finally:
        for work in reversed(background):
            await asyncio.to_thread(work.stop)
    return 0
