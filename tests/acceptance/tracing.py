"""What a process asked the kernel for, by strace: to prove an order of events, or to make the kernel say no."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.acceptance.relay import Relay

_LINE = re.compile(r"(?P<task>\d+) +(?P<at>[\d.]+) (?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?)(?P<remark>.*)")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(.*)")
_ATTACHED = "attached"


@dataclass(frozen=True, slots=True)
class Call:
    """One system call; ``begun`` and ``ended`` are places in the order of the trace."""

    name: str
    arguments: str
    result: int
    begun: int
    ended: int

    @property
    def target(self) -> str:
        """What its first argument, a descriptor, stands for: a path, or a socket's two ends."""
        return self.arguments.partition("<")[2].partition(">,")[0].rstrip(">")


def skip_without_strace() -> None:
    """Skip the test where processes cannot be traced."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not allow tracing")


def skip_without_faketime(file: Path) -> dict[str, str]:
    """Give the environment in which processes have the clock that ``file`` says; skip the test where none is to be had.

    Time that only grows is left alone, as it is when somebody sets a real clock.
    """
    library = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
    if library is None:
        if os.environ.get("JUDGES") == "required":
            pytest.fail("libfaketime is not installed")
        pytest.skip("libfaketime is not installed")
    return {
        "PYTHONPATH": os.pathsep.join([str(_with_a_sleep(file)), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }


def _with_a_sleep(file: Path) -> Path:
    """Make a directory for Python's path in which ``time.sleep`` sleeps.

    Python sleeps by ``clock_nanosleep`` until a time of the clock that only grows, which libfaketime 0.9.10
    (Debian 12) answers with EINVAL (wolfcw/libfaketime#426).
    """
    folder = file.with_name("python")
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import select, time\ntime.sleep = lambda seconds: select.select((), (), (), seconds) and None\n"
    )
    return folder


def relay_worker(relay: Relay) -> int:
    """The one worker that accepts and delivers; the site has ``workers = 1``."""
    (found,) = (pid for pid in relay.workers if Path(f"/proc/{pid}/comm").read_text().startswith("sekisho-relay"))
    return found


class Strace:
    """strace on a running process and its threads, from ``with`` to its end; ``options`` choose the calls."""

    def __init__(self, pid: int, file: Path, *options: str) -> None:
        self._file = file
        self._command = ["strace", "-f", "-ttt", "-yy", *options, "-o", str(file), "-p", str(pid)]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = self._process.stderr.readline()
        assert _ATTACHED in said, said
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def detach(self) -> None:
        """Let the process run on untraced; it may have ended."""
        assert self._process is not None
        self._process.terminate()
        self._process.communicate(timeout=30)

    def calls(self) -> list[Call]:
        """What was traced, in the order in which the calls ended; read after the end."""
        found: list[Call] = []
        open_calls: dict[str, tuple[int, str]] = {}
        for place, line in enumerate(self._file.read_text(errors="replace").splitlines()):
            parts = _LINE.fullmatch(line)
            if parts is None:
                continue
            task, rest = parts["task"], parts["rest"]
            begun = place
            if rest.endswith(_UNFINISHED):
                open_calls[task] = place, rest.removesuffix(_UNFINISHED)
                continue
            if (resumed := _RESUMED.fullmatch(rest)) is not None:
                begun, head = open_calls.pop(task)
                rest = head + resumed[1]
            if (call := _CALL.fullmatch(rest)) is not None and call["result"] != "?":
                found.append(Call(call["name"], call["arguments"], int(call["result"]), begun, place))
        return found
