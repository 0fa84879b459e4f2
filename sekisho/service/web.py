"""The web worker: health over HTTP, and the background work that has no place in a relay worker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from sekisho.db import Database, DatabaseUnavailable, History, SchemaTooNew, SchemaTooOld, check
from sekisho.doors.health import Application, Health
from sekisho.queue.layout import Layout
from sekisho.service.certificates import Certificate
from sekisho.service.config import Config
from sekisho.service.http import HttpServer
from sekisho.service.moving import mover
from sekisho.service.stores import stores
from sekisho.service.worker import Channel, WorkerContext, run

_log = structlog.get_logger()


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
    app = Health(lambda: storage_fault(control, events, Layout(directory.spool)))
    return run(context, lambda context, channel: serve_web(context, channel, app, (mover(directory, events),)))


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
    context: WorkerContext, channel: Channel, app: Application, background: Sequence[Background]
) -> int:
    """Open the door, run the background work beside it, until told to drain; the exit status."""
    server = HttpServer(context, app)

    def on_reload(config: Config, certificate: Certificate) -> None:
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
