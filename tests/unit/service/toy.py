"""A server that is real but for its doors: whoever connects is told what the worker knows of itself, in one JSON line.

Run as ``python -m tests.unit.service.toy CONFIG``. A connection stays open until the client says something.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import mmap
import os
import socket
import stat
import sys
from pathlib import Path

from sekisho.service import config as configuration
from sekisho.service.certificates import Certificate
from sekisho.service.config import Config, ConfigError
from sekisho.service.launch import Announcement, Manner, Parts, StartProblem, launch
from sekisho.service.telemetry import LogFormat
from sekisho.service.worker import Channel, Role, WorkerContext, run


class Shared:
    """Counts how often each worker was forgotten, in memory that all see."""

    def __init__(self, workers: int) -> None:
        self.forgotten = mmap.mmap(-1, workers)

    def forget(self, worker_index: int) -> None:
        self.forgotten[worker_index] += 1


def relay(context: WorkerContext) -> int:
    if (context.directory.path / "broken").exists():
        return 7
    return run(context, serve)


async def serve(context: WorkerContext, channel: Channel) -> int:
    known: dict[str, object] = {"recipients": context.config.smtp.max_recipients}
    known["certificate"] = hashlib.sha256(context.certificate.chain_pem).hexdigest()
    draining = asyncio.Event()
    open_connections: set[asyncio.Task[None]] = set()

    def on_reload(config: Config, certificate: Certificate) -> None:
        known["recipients"] = config.smtp.max_recipients
        known["certificate"] = hashlib.sha256(certificate.chain_pem).hexdigest()

    async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        open_connections.add(task)
        task.add_done_callback(open_connections.discard)
        with contextlib.suppress(OSError):
            writer.write(json.dumps(known | facts(context)).encode() + b"\n")
            if await reader.read(1):
                writer.write(b"bye\n")
                await writer.drain()
        writer.close()

    channel.listen(on_reload=on_reload, on_drain=lambda _deadline_s: draining.set())
    sockets = [listener.socket for listener in context.listeners]
    sockets += [context.http] if context.http is not None else []
    servers = [await asyncio.start_server(tell, sock=one) for one in sockets]
    channel.ready()
    await draining.wait()
    for server in servers:
        server.close()
    await asyncio.gather(*open_connections)
    return 0


def facts(context: WorkerContext) -> dict[str, object]:
    shared = context.shared
    return {
        "pid": os.getpid(),
        "role": context.role.value,
        "index": context.index,
        "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
        "listening": sum(is_listening(entry.name) for entry in Path("/proc/self/fd").iterdir()),
        "forgotten": list(shared.forgotten[:]) if isinstance(shared, Shared) else None,
    }


def is_listening(descriptor: str) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(int(descriptor)).st_mode):
            return False
        with socket.socket(fileno=os.dup(int(descriptor))) as one:
            return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False


def announce(found: Announcement) -> None:
    sys.stdout.write(json.dumps(found.document()) + "\n")
    sys.stdout.flush()


def main() -> int:
    file = Path(sys.argv[1])
    parts = Parts(mains={Role.RELAY: relay, Role.WEB: relay}, make_shared=Shared)
    manner = Manner(roles=frozenset(Role), log_format=LogFormat.JSON, announce=announce)
    try:
        return launch(lambda: configuration.gather(file, {}), manner, parts)
    except ConfigError as problem:
        sys.stderr.write(f"{problem}\n")
        return 2
    except Exception as problem:  # noqa: BLE001 - as the command does
        sys.stderr.write(f"{problem}\n")
        return (
            1
            if isinstance(problem, StartProblem) or "data directory" in str(problem) or "listen" in str(problem)
            else 9
        )


if __name__ == "__main__":
    sys.exit(main())
