"""Look at the machine as a server would find it: one finding for each thing that it needs.

Each look is a function from facts it gathers to findings; none changes anything that outlives it.
"""

from __future__ import annotations

import ctypes
import datetime as dt
import enum
import os
import resource
import shutil
import stat
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho import db, sealing
from sekisho.db import Database, History
from sekisho.ports.dns import Absent, NoRecords, NoSuchName, Resolver, ResolverUnusable, TryLater
from sekisho.sealing import MasterKeyUnusable
from sekisho.service import certificates, datadir, sockets
from sekisho.service.certificates import CertificateProblem
from sekisho.service.config import Config, Endpoint
from sekisho.service.datadir import DataDir
from sekisho.service.privileges import owner_of
from sekisho.service.stores import stores
from sekisho.service.worker import Role

_SYNC_ROUNDS: Final = 20
_SYNC_SLOW_S: Final = 0.02
"""Group commit carries a slow disk, but every message waits for at least one sync."""

_FREE_LOW_BYTES: Final = 1 << 30
_MEMORY_FILE_SYSTEMS: Final = frozenset({"tmpfs", "ramfs"})
_NETWORK_FILE_SYSTEMS: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs"})
_DESCRIPTORS_BESIDE: Final = 256
"""What a worker opens besides its clients' connections: databases, deliveries, files."""

_YEAR_MIN: Final = 2026
_YEAR_MAX: Final = 2100
_STA_UNSYNC: Final = 0x0040


class Grade(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    subject: str
    grade: Grade
    detail: str


def data_directory(path: Path) -> Iterator[Finding]:
    """Whether the directory is there, whose it is, who can look inside, and how much fits."""
    subject = "data directory"
    try:
        status = path.stat()
    except FileNotFoundError:
        yield Finding(subject, Grade.WARNING, f"{path} is not there yet; the first start makes it")
        return
    except OSError as error:
        yield Finding(subject, Grade.FAILED, f"{path}: {error.strerror}")
        return
    if not stat.S_ISDIR(status.st_mode):
        yield Finding(subject, Grade.FAILED, f"{path} is not a directory")
    elif status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        yield Finding(subject, Grade.WARNING, f"{path} is open to others (mode {mode:04o}): chmod 700 it")
    else:
        owner = owner_of(status)
        yield Finding(subject, Grade.OK, f"{path}, owner {owner.name or owner.uid}")
    free_bytes = shutil.disk_usage(path).free
    detail = f"{free_bytes / (1 << 30):.1f} GiB free"
    yield Finding("disk space", Grade.OK if free_bytes >= _FREE_LOW_BYTES else Grade.WARNING, detail)


def disk_sync(path: Path) -> Finding:
    """How long it takes to make a small write durable, and whether this disk keeps what it promises."""
    subject = "disk sync"
    place = _nearest_existing(path)
    kind = _file_system(place)
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            times = []
            for _ in range(_SYNC_ROUNDS):
                os.write(file.fileno(), bytes(4096))
                before = time.perf_counter()
                os.fdatasync(file.fileno())
                times.append(time.perf_counter() - before)
    except OSError as error:
        return Finding(subject, Grade.FAILED, f"{place}: {error.strerror}")
    median_s = statistics.median(times)
    detail = f"{median_s * 1000:.2f} ms (median of {_SYNC_ROUNDS}) on {kind}"
    if kind in _MEMORY_FILE_SYSTEMS:
        return Finding(subject, Grade.WARNING, f"{detail}: memory, everything is lost with the machine")
    if kind in _NETWORK_FILE_SYSTEMS:
        return Finding(subject, Grade.WARNING, f"{detail}: locks and syncs over a network are not to be relied on")
    return Finding(subject, Grade.OK if median_s < _SYNC_SLOW_S else Grade.WARNING, detail)


def databases(config: Config, directory: DataDir) -> Iterator[Finding]:
    """Whether this release can work with the schemas; files that are not there yet are fine."""
    places = stores(config, directory)
    for history in History:
        subject, place = f"{history.value} database", places.of(history)
        if isinstance(place, Path) and not place.exists():
            yield Finding(subject, Grade.OK, "not there yet; the first start makes it")
            continue
        database = Database(place)
        try:
            db.check(database, history)
        except db.SchemaTooOld as behind:
            # A start upgrades a file; a server's schema waits for an operator, and so would the start.
            yield Finding(subject, Grade.FAILED if database.is_shared else Grade.WARNING, str(behind))
        except (db.SchemaTooNew, db.DatabaseUnavailable) as problem:
            yield Finding(subject, Grade.FAILED, str(problem))
        else:
            where = f"{place.stat().st_size / (1 << 20):.1f} MiB" if isinstance(place, Path) else str(place)
            yield Finding(subject, Grade.OK, f"schema of this release, {where}")
        finally:
            database.close()
    postgres = config.storage.postgres
    if postgres is not None and not postgres.is_verified():
        detail = f"{postgres}: who answers there is not verified: add ?sslmode=verify-full&sslrootcert=FILE"
        yield Finding("database connection", Grade.WARNING, detail)


def master_key(config: Config, directory: DataDir) -> Finding:
    """Whether what is sealed can be opened."""
    named = config.storage.master_key_file
    path = named or directory.master_key
    if named is None and not path.exists():
        return Finding("master key", Grade.OK, "not there yet; made when first needed")
    try:
        sealing.load(path, make=False)
    except MasterKeyUnusable as problem:
        return Finding("master key", Grade.FAILED, str(problem))
    return Finding("master key", Grade.OK, str(path))


def ports(config: Config, directory: DataDir) -> Iterator[Finding]:
    """Whether every address can be listened on, or is by the server of this very data directory."""
    listeners = [("smtp", Role.RELAY, listener.address) for listener in config.smtp.listeners]
    for door, role, address in (*listeners, ("http", Role.WEB, config.http.address)):
        yield _port(f"{door} {address}", address, running=datadir.is_locked(directory, role))


def _port(subject: str, address: Endpoint, *, running: bool) -> Finding:
    if address.address.version == 6 and not sockets.has_ipv6():
        return Finding(subject, Grade.WARNING, "this machine has no IPv6")
    try:
        sockets.try_out(address)
    except sockets.BindProblem as problem:
        if running:
            return Finding(subject, Grade.OK, "in use, a server with this data directory is running")
        return Finding(subject, Grade.FAILED, str(problem))
    return Finding(subject, Grade.OK, "free")


def descriptors(config: Config) -> Finding:
    """Whether the system lets one process hold as many connections as the configuration allows."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = config.smtp.max_connections + _DESCRIPTORS_BESIDE
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        return Finding("open files", Grade.OK, f"limit {hard}")
    detail = f"the limit of {hard} is lower than smtp.max_connections needs ({wanted}): connections end there"
    return Finding("open files", Grade.WARNING, detail)


def certificate(config: Config, directory: DataDir) -> Iterator[Finding]:
    """Whether clients will believe the certificate, as far as can be told from here."""
    tls = config.tls
    if tls.certificate_file is not None and tls.private_key_file is not None:
        found = certificates.load(tls.certificate_file, tls.private_key_file)
    elif directory.certificate.exists():
        found = certificates.load(directory.certificate, directory.private_key)
    else:
        yield Finding("certificate", Grade.WARNING, "none configured: the first start makes a self-signed one")
        return
    if isinstance(found, CertificateProblem):
        yield Finding("certificate", Grade.FAILED, found.reason)
        return
    now_ms = time.time_ns() // 1_000_000
    doubts = found.doubts(config.server.hostname, now_ms)
    for doubt in doubts:
        out_of_date = not found.not_before_ms <= now_ms < found.not_after_ms and doubt is doubts[0]
        yield Finding("certificate", Grade.FAILED if out_of_date else Grade.WARNING, doubt)
    if not doubts:
        until = dt.datetime.fromtimestamp(found.not_after_ms / 1000, dt.UTC).date()
        yield Finding("certificate", Grade.OK, f"for {', '.join(found.names)}, until {until}")


def clock() -> Finding:
    """Whether the clock can be right: signatures carry the time, and receivers look at it."""
    year = dt.datetime.now(dt.UTC).year
    if not _YEAR_MIN <= year <= _YEAR_MAX:
        return Finding("clock", Grade.FAILED, f"the clock says {year}")
    match _is_synchronised():
        case True:
            return Finding("clock", Grade.OK, "synchronised")
        case False:
            return Finding("clock", Grade.WARNING, "the kernel says that nothing keeps it in time (NTP)")
        case None:
            return Finding("clock", Grade.WARNING, "cannot be told whether something keeps it in time")


class _Timex(ctypes.Structure):
    """struct timex of <sys/timex.h>, as far as it is looked at; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("room", ctypes.c_byte * 512),
    )


def _is_synchronised() -> bool | None:
    timex = _Timex()  # modes 0: only asks
    try:
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (AttributeError, OSError):
        return None
    return None if state < 0 else not timex.status & _STA_UNSYNC


async def names(config: Config) -> tuple[Finding, ...]:
    """Whether the DNS answers, and what it says of our own name: forward, and back from each address."""
    hostname = config.server.hostname
    servers = [(str(server.address), server.port) for server in config.dns.nameservers]
    try:
        resolver = Resolver(servers, config.dns.timeout_s)
    except ResolverUnusable as problem:
        return (Finding("dns", Grade.WARNING, str(problem)),)
    forward = await resolver.addresses(hostname)
    if isinstance(forward, TryLater):
        return (Finding("dns", Grade.WARNING, f"no answer about {hostname}: {forward.reason}"),)
    answers = Finding("dns", Grade.OK, "answers")
    if hostname == "localhost":
        return (answers,)  # dev, which the world never sees
    if isinstance(forward, NoSuchName | NoRecords):
        detail = f"{hostname} has no address: receivers distrust a sender whose name leads nowhere"
        return (answers, Finding("host name", Grade.WARNING, detail))
    backward = [await _points_back(resolver, address, hostname) for address in forward.values]
    return (answers, Finding("host name", Grade.OK, f"{hostname} is {', '.join(forward.values)}"), *backward)


async def _points_back(resolver: Resolver, address: str, hostname: str) -> Finding:
    found: tuple[str, ...] | Absent = await resolver.pointers(address)
    if isinstance(found, tuple):
        if hostname in found:
            return Finding("reverse name", Grade.OK, f"{address} is {hostname}")
        return Finding("reverse name", Grade.WARNING, f"{address} points to {', '.join(found)}, not to {hostname}")
    why = f"could not be asked ({found.reason})" if isinstance(found, TryLater) else "has no name"
    return Finding("reverse name", Grade.WARNING, f"{address} {why}; receivers expect {hostname}")


def _nearest_existing(path: Path) -> Path:
    return next((place for place in (path, *path.parents) if place.is_dir()), Path("/"))


def _file_system(place: Path) -> str:
    """The type of the file system that a directory is on, from the longest mount point above it."""
    kind, longest = "an unknown file system", -1
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return kind
    real = place.resolve()
    for line in mounts:
        _device, point, found, *_ = line.split(" ")
        if real.is_relative_to(point) and len(point) >= longest:
            kind, longest = found, len(point)
    return kind
