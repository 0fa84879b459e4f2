"""The data directory: what lies where, who owns it, and that one server at a time uses it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.service.preload import preload
from sekisho.service.privileges import Owner, PrivilegeProblem, become, find_owner, owner_of

_MODE: Final = 0o700
# Workers leave within a second of their supervisor's death; a slow disk may hold one of them up for longer.
_LEFTOVERS_S: Final = 10.0
_LOOK_AGAIN_S: Final = 0.05


class DataDirProblem(Exception):  # a state of the world
    """The directory cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class DataDir:
    """Where everything lies."""

    path: Path

    @property
    def control(self) -> Path:
        return self.path / "control.db"

    @property
    def events(self) -> Path:
        return self.path / "events.db"

    @property
    def spool(self) -> Path:
        """A directory: the spool's database, its large bodies and its locks."""
        return self.path / "spool"

    @property
    def mover_lock(self) -> Path:
        """Held by the one process that moves events from the spool to their store."""
        return self.path / "mover.lock"

    @property
    def master_key(self) -> Path:
        return self.path / "master.key"

    @property
    def audit_heads(self) -> Path:
        """Signed heads of the audit log, one line each; only ever appended to."""
        return self.path / "audit-heads.jsonl"

    @property
    def certificate(self) -> Path:
        """The self-signed certificate, used when [tls] names none."""
        return self.path / "tls.crt"

    @property
    def private_key(self) -> Path:
        return self.path / "tls.key"

    def owner(self) -> Owner:
        """Who owns the directory: the user that serves from it and that commands act as."""
        return owner_of(self.path.stat())


def prepare(path: Path, user: str) -> DataDir:
    """Make the directory if it is not there; raises DataDirProblem.

    Run as root with a ``user``, it belongs to that user afterwards (or did already).
    """
    owner = _wanted_owner(user)
    try:
        # Parents with the ordinary mode (/var/lib), the directory itself for its owner alone.
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.mkdir(mode=_MODE)
            created = True
        except FileExistsError:
            created = False
        # By descriptor: between two looks at a path it may become another one.
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        message = f"{path}: cannot be used as data directory: {error.strerror}"
        raise DataDirProblem(message) from None
    try:
        if created:
            os.fchmod(directory, _MODE)  # whatever the umask
        _settle_owner(directory, path, owner)
    finally:
        os.close(directory)
    return DataDir(path)


def become_owner(directory: DataDir, *, server: bool) -> None:
    """For commands run as root: go on as the directory's owner, so that every file made is the server's too.

    ``server``: control data are on a database server.
    """
    if os.geteuid() != 0:
        return
    preload(migrations=True, server=server)
    try:
        become(directory.owner())
    except PrivilegeProblem as problem:
        raise DataDirProblem(str(problem)) from None


class Lock:
    """One server of a kind on a data directory: the supervisor's locks, and the workers', which last as long as they.

    Two, because a supervisor that was killed leaves workers behind for a moment: the next server is the only one at
    once, and waits for them before it touches their files.
    """

    def __init__(self, supervisor: Sequence[int], workers: Sequence[int]) -> None:
        self._supervisor = supervisor
        self._workers = workers

    def keep_as_worker(self) -> None:
        """In a forked worker: let go of the supervisor's locks, hold on to the workers'."""
        for descriptor in self._supervisor:
            os.close(descriptor)

    def release(self) -> None:
        """Let the next server in; only once every worker is gone."""
        for descriptor in (*self._workers, *self._supervisor):
            os.close(descriptor)


def lock(directory: DataDir, roles: Iterable[str], *, wait_s: float = _LEFTOVERS_S) -> Lock:
    """Become the one server with these roles on this directory; raises DataDirProblem when another one is."""
    owner = directory.owner()
    with contextlib.ExitStack() as undo:
        supervisor: list[int] = []
        workers: list[int] = []
        # In one order everywhere, and all of the first kind first: of two that start at once, one gives way at once.
        for descriptors, suffix, patience_s in ((supervisor, ".lock", 0.0), (workers, ".workers.lock", wait_s)):
            for role in sorted(roles):
                descriptor = _open_lock(directory.path / f"{role}{suffix}", owner)
                undo.callback(os.close, descriptor)
                _acquire(descriptor, directory.path, role, wait_s=patience_s)
                descriptors.append(descriptor)
        undo.pop_all()
    return Lock(supervisor, workers)


def is_locked(directory: DataDir, role: str) -> bool:
    """Whether a server with this role is using the directory now."""
    try:
        descriptor = os.open(directory.path / f"{role}.lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _open_lock(path: Path, owner: Owner) -> int:
    # The directory may belong to somebody less trusted than root: no link is followed, nothing else's owner changed.
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        message = f"{path}: cannot be opened: {error.strerror}"
        raise DataDirProblem(message) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        message = f"{path}: is not a plain file"
        raise DataDirProblem(message)
    if os.geteuid() == 0 and status.st_uid != owner.uid:
        os.fchown(descriptor, owner.uid, owner.gid)
    return descriptor


def _acquire(descriptor: int, path: Path, role: str, *, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                message = f"{path}: another server ({role}) is using this data directory"
                raise DataDirProblem(message) from None
            time.sleep(_LOOK_AGAIN_S)
        else:
            return


def _wanted_owner(user: str) -> Owner | None:
    """Whom the directory must belong to; None = whoever runs this, as far as we may say."""
    if not user:
        return None
    try:
        return find_owner(user)
    except PrivilegeProblem as problem:
        message = f"server.user: {problem}"
        raise DataDirProblem(message) from None


def _settle_owner(directory: int, path: Path, owner: Owner | None) -> None:
    status = os.fstat(directory)
    if os.geteuid() != 0:
        if owner is not None and owner.uid != os.geteuid():
            message = f"server.user is {owner.name!r}: run as that user, or as root"
            raise DataDirProblem(message)
        if status.st_uid != os.geteuid():
            message = f"{path}: belongs to {_called(owner_of(status))}; run as that user, or as root"
            raise DataDirProblem(message)
        return
    if owner is None or status.st_uid == owner.uid:
        return
    with os.scandir(directory) as entries:
        empty = next(entries, None) is None
    if not empty:
        message = (
            f"{path}: belongs to {_called(owner_of(status))}, but server.user is {owner.name!r}; "
            f"run chown -R {owner.name} on it"
        )
        raise DataDirProblem(message)
    os.fchown(directory, owner.uid, owner.gid)


def _called(owner: Owner) -> str:
    return repr(owner.name) if owner.name else f"user {owner.uid}"
