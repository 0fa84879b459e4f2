"""From a configuration to a running server: prepare, bind, read the certificate, then supervise.

The order is the point. As root: read, bind, read keys. As the data directory's owner, in a child of its own: migrate,
and make what is made in the data directory. Only then fork the workers.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import structlog

from sekisho import sealing
from sekisho.db import Database, DatabaseUnavailable, History, SchemaTooNew, SchemaTooOld, ready
from sekisho.sealing import MasterKeyUnusable
from sekisho.service import certificates, datadir, sockets, telemetry
from sekisho.service.certificates import Certificate, CertificateProblem
from sekisho.service.config import Config, ConfigError, Endpoint, Source, parse
from sekisho.service.datadir import DataDir, DataDirProblem
from sekisho.service.preload import preload
from sekisho.service.privileges import Owner, find_owner
from sekisho.service.sockets import Bound
from sekisho.service.spawn import Failed, run_apart
from sekisho.service.stores import stores
from sekisho.service.supervisor import Plan, supervise
from sekisho.service.telemetry import LogFormat
from sekisho.service.worker import Role, SharedTable, WorkerContext

_log = structlog.get_logger()


class StartProblem(Exception):
    """The server cannot start; one line says why."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What is run, apart from how."""

    mains: Mapping[Role, Callable[[WorkerContext], int]]
    make_shared: Callable[[int], SharedTable | None]
    """Make the memory that so many relay workers share."""
    loads: Mapping[Role, Callable[[], None]] = field(default_factory=dict)
    """What a role's process does before it becomes its user: imports that are its own."""
    prepare: Callable[[Config, DataDir], None] | None = None
    """Further preparation as the owner of the data directory; raises StartProblem."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """Where everything is, once it is there."""

    config: Config
    directory: DataDir
    owner: Owner | None
    """Whom the workers became, and whoever changes their files should too; None = nobody else."""
    smtp: tuple[tuple[Endpoint, str], ...]
    http: str | None
    ca_file: Path | None
    """The self-signed certificate, when that is the one in use."""

    def document(self) -> dict[str, object]:
        """The ready line's fields."""
        return {
            "ready": True,
            "smtp": [{"address": str(address), "tls": tls} for address, tls in self.smtp],
            "http": self.http,
            "data_dir": str(self.directory.path),
            "ca_file": None if self.ca_file is None else str(self.ca_file),
        }


@dataclass(frozen=True, slots=True)
class Manner:
    """How a server is run: what ``serve`` and ``dev`` do differently."""

    roles: frozenset[Role]
    log_format: LogFormat
    announce: Callable[[Announcement], None]
    certificate_names: tuple[str, ...] | None = None
    """What the self-signed certificate is for; None = the configured host name."""
    http_host: str | None = None
    """What to call the HTTP door's host in the announcement; None = its address."""
    hang_up_ends: bool = False


_OWN_FILES: Final = "tls.certificate_file"
PROBLEMS: Final = (StartProblem, ConfigError, DatabaseUnavailable, SchemaTooNew, SchemaTooOld, MasterKeyUnusable)


def launch(gather: Callable[[], Source], manner: Manner, parts: Parts) -> int:
    """Run a server until it is told to end; its exit status.

    Raises ConfigError (exit status 2), StartProblem, DataDirProblem and sockets.BindProblem (1).
    """
    source = gather()
    config = parse(source)
    telemetry.configure(manner.log_format, config.server.log_level, "supervisor")
    preload(server=config.storage.postgres is not None)
    directory = datadir.prepare(config.server.data_dir, config.server.user)
    owner = _workers_owner(config, directory)
    with contextlib.ExitStack() as undo:
        lock = datadir.lock(directory, manner.roles)
        undo.callback(lock.release)
        _prepare(parts, config, directory, owner, manner.certificate_names)
        certificate = _certificate(config, directory)
        if config.server.hostname == Config().server.hostname:
            _log.warning("config.example_hostname", reason="server.hostname is still the example's")
        _warn(certificate, manner.certificate_names, config)
        bound = _bind(config, manner.roles)
        undo.callback(bound.close)
        config = _with_bound_port(config, bound, manner)
        return supervise(
            Plan(
                source=source,
                config=config,
                directory=directory,
                lock=lock,
                owner=owner,
                bound=bound,
                certificate=certificate,
                shared=parts.make_shared(len(bound.relays)) if bound.relays else None,
                mains={role: main for role, main in parts.mains.items() if role in manner.roles},
                loads=parts.loads,
                gather=gather,
                read_certificate=lambda fresh: _reread(fresh, directory, owner, manner.certificate_names),
                announce=lambda: manner.announce(_announcement(config, directory, owner, bound, manner)),
                log_format=manner.log_format,
                hang_up_ends=manner.hang_up_ends,
            )
        )


def _workers_owner(config: Config, directory: DataDir) -> Owner | None:
    """Whom root's workers become; None when nothing is to be dropped."""
    if os.geteuid() != 0:
        return None
    if config.server.user:
        return find_owner(config.server.user)
    owner = directory.owner()
    if owner.uid != 0:
        # Files that root makes there would be closed to the administration commands, which act as the owner.
        message = (
            f"{directory.path}: belongs to {owner.name or owner.uid!r}: set server.user to it, or run as that user"
        )
        raise DataDirProblem(message)
    return None


def _prepare(
    parts: Parts, config: Config, directory: DataDir, owner: Owner | None, names: Collection[str] | None
) -> None:
    """Migrate and make, in a child: Alembic never enters a process that stays, and root writes nothing there."""

    def work() -> bytes:
        places = stores(config, directory)
        for history in History:
            database = Database(places.of(history))
            try:
                ready(database, history)
            finally:
                database.close()
        # A key that the operator named is never made: a typing error would seal with a key that nobody keeps.
        master_key_file = config.storage.master_key_file
        sealing.load(master_key_file or directory.master_key, make=master_key_file is None)
        if config.tls.certificate_file is None:
            _keep_self_signed(directory, names or (config.server.hostname,))
        if parts.prepare is not None:
            parts.prepare(config, directory)

        return b""

    done = run_apart(owner, work, PROBLEMS)
    if isinstance(done, Failed):
        raise StartProblem(done.reason)


def _keep_self_signed(directory: DataDir, names: Collection[str]) -> bytes:
    now_ms = time.time_ns() // 1_000_000
    found = certificates.keep_self_signed(directory.certificate, directory.private_key, names, now_ms)
    if isinstance(found, CertificateProblem):
        raise StartProblem(found.reason)
    return b""


def _certificate(config: Config, directory: DataDir) -> Certificate:
    """Read the certificate in force; raises ConfigError."""
    tls = config.tls
    if tls.certificate_file is None or tls.private_key_file is None:
        found = certificates.load(directory.certificate, directory.private_key)
    else:
        found = certificates.load(tls.certificate_file, tls.private_key_file)
    if isinstance(found, CertificateProblem):
        key = "tls.private_key_file" if found.file == tls.private_key_file else _OWN_FILES
        raise ConfigError(key, found.reason)
    return found


def _reread(config: Config, directory: DataDir, owner: Owner | None, names: Collection[str] | None) -> Certificate:
    if config.tls.certificate_file is None:
        done = run_apart(owner, lambda: _keep_self_signed(directory, names or (config.server.hostname,)), PROBLEMS)
        if isinstance(done, Failed):
            raise ConfigError(_OWN_FILES, done.reason)
    certificate = _certificate(config, directory)
    _warn(certificate, names, config)
    return certificate


def _warn(certificate: Certificate, names: Collection[str] | None, config: Config) -> None:
    if names is not None and certificate.self_signed:
        return  # asked for
    for doubt in certificate.doubts(config.server.hostname, time.time_ns() // 1_000_000):
        _log.warning("certificate.doubtful", reason=doubt)


def _bind(config: Config, roles: Iterable[Role]) -> Bound:
    relay_workers = config.server.relay_workers(os.cpu_count() or 1) if Role.RELAY in roles else 0
    http = config.http.address if Role.WEB in roles else None
    bound, skipped = sockets.bind(config.smtp.listeners, relay_workers, http)
    if skipped:
        _log.warning("listeners.skipped", addresses=list(skipped), reason="this machine has no IPv6")
    return bound


def _with_bound_port(config: Config, bound: Bound, manner: Manner) -> Config:
    """Where the port is any free one, links that people get must name the one that it became."""
    address = bound.http_address
    if manner.http_host is None or address is None or config.http.address.port:
        return config
    return replace(config, server=replace(config.server, public_url=_http_url(config, address, manner.http_host)))


def _http_url(config: Config, address: Endpoint, host: str | None) -> str:
    scheme = "https" if config.http.tls else "http"
    return f"{scheme}://{address}" if host is None else f"{scheme}://{host}:{address.port}"


def _announcement(
    config: Config, directory: DataDir, owner: Owner | None, bound: Bound, manner: Manner
) -> Announcement:
    address = bound.http_address
    http = None if address is None else _http_url(config, address, manner.http_host)
    return Announcement(
        config=config,
        directory=directory,
        owner=owner,
        smtp=tuple((listener.address, listener.tls.value) for listener in bound.smtp),
        http=http,
        ca_file=directory.certificate if config.tls.certificate_file is None else None,
    )
