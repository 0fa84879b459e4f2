"""Fork a process of ours: settle it in (signals, descriptors, user), run its function, end it without ceremony.

Fork, not exec: sockets, the shared table and imported modules come along. The supervisor has no threads and no event
loop, so nothing is half-done in the copy.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import structlog

from sekisho.service.preload import preload
from sekisho.service.privileges import Owner, PrivilegeProblem, become

_UMASK: Final = 0o077  # everything a worker writes is its user's alone
_ANSWER_MAX_BYTES: Final = 4096
_SPOKE: Final = 3
"""Exit status of a child that said itself what is wrong."""

_log = structlog.get_logger()


def spawn(name: str, owner: Owner | None, settle: Callable[[], None], main: Callable[[], int]) -> int:
    """Fork a worker and return its pid; in the child run ``settle`` (closing what is not its own), then ``main``.

    ``owner`` is whom it becomes in between; None = stay.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()  # what exists already stays out of the collector's way, and on shared pages
    pid = os.fork()
    if pid == 0:
        _child(name, owner, settle, main)
    return pid


@dataclass(frozen=True, slots=True)
class Failed:
    """What was run apart did not succeed; ``reason`` is one line."""

    reason: str


def run_apart(owner: Owner | None, action: Callable[[], bytes], known: tuple[type[Exception], ...]) -> bytes | Failed:
    """Run ``action`` as ``owner`` in a child, wait for it, and pass its (small) answer on.

    Memory, imports and open files of the action die with the child; it may migrate. Exceptions in ``known`` speak for
    themselves; any other is a fault of ours and logged with its traceback.
    """
    reader, writer = os.pipe()

    def settle() -> None:
        os.close(reader)
        if owner is not None:
            preload(migrations=True)

    def main() -> int:
        try:
            answer = action()
        except known as problem:
            os.write(writer, str(problem).encode("utf-8", "replace")[:_ANSWER_MAX_BYTES])
            return _SPOKE
        # At most PIPE_BUF: written at once, whoever reads.
        os.write(writer, answer[:_ANSWER_MAX_BYTES])
        return 0

    pid = spawn("sekisho-prepare", owner, settle, main)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read(_ANSWER_MAX_BYTES)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return said
    if code == _SPOKE:
        return Failed(said.decode("utf-8", "replace"))
    return Failed(f"preparation ended with status {code}; the log says why")


_PR_SET_PDEATHSIG: Final = 1


def _die_with_parent() -> None:
    """Have the kernel end this process with its supervisor, also while it is too busy to notice by itself.

    After the change of user, which resets it. Nothing is lost: what was promised is on disk.
    """
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _child(name: str, owner: Owner | None, settle: Callable[[], None], main: Callable[[], int]) -> NoReturn:
    code = 1
    try:
        _restore_signals()
        settle()
        os.umask(_UMASK)
        if owner is not None:
            become(owner)
        _die_with_parent()
        _call_process(name)
        code = main()
    except PrivilegeProblem as problem:
        _log.error("worker.privileges", reason=str(problem))
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001 - the last frame of a process: it is logged, and the status tells
        _log.exception("worker.fault")
    finally:
        # Not sys.exit: the frames above are the supervisor's, and so are its finally clauses.
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _restore_signals() -> None:
    """Forget the supervisor's handlers. Ctrl-C and a lost terminal reach the whole group: the supervisor decides."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _call_process(name: str) -> None:
    """Name the process for ps and top (15 characters are kept)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name, encoding="ascii")
