"""The real thing on loopback: starts the ``sekisho`` command as anybody would, and speaks to it with stock clients."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import smtplib
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

COMMAND = str(Path(sys.executable).with_name("sekisho"))
PATIENCE_S = 60
"""Generous: the suite shares its machine, and nothing here measures speed."""

Document = Any
"""Printed JSON, which the tests look into."""


class CommandFailed(AssertionError):
    """A command ended with another exit status than the test expected."""


def environment() -> dict[str, str]:
    """Ours, without configuration of the tester's own: the program reads names that start so."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SEKISHO_")}


def run(
    *arguments: str | Path, stdin: str | None = None, status: int = 0, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end and insist on its exit status."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        input="" if stdin is None else stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        env=environment() | (env or {}),
    )
    if done.returncode != status:
        message = f"{arguments}: exit {done.returncode}, not {status}\n{done.stdout}\n{done.stderr}"
        raise CommandFailed(message)
    return done


def eventually(ask: Callable[[], T], what: str | Callable[[], str] = "", timeout_s: float = 20) -> T:
    """Ask until the answer is true: for what has no notification. The deadline only ends a failing test."""
    deadline = time.monotonic() + timeout_s
    while not (answer := ask()):
        if time.monotonic() > deadline:
            message = f"not within {timeout_s} s: {what() if callable(what) else what}"
            raise AssertionError(message)
        time.sleep(0.05)
    return answer


def children(pid: int) -> list[int]:
    """Processes that this one has started; none when it is gone."""
    try:
        return sorted(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except (FileNotFoundError, ProcessLookupError):
        return []


def letter(
    sequence: int = 0, *, to: str = "reader@sink.test", sender: str = "ann@example.test", filler: int = 0
) -> bytes:
    """A small message that says its number; ``filler`` adds about that many octets of body."""
    lines = [
        f"From: Ann <{sender}>",
        f"To: <{to}>",
        f"Subject: Number {sequence}",
        f"X-Test-Seq: {sequence}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        f"Dear reader, this is number {sequence}.",
        ".a line that starts with a dot",
        *("0123456789abcdef" * 4 for _ in range(filler // 66)),
    ]
    return "".join(line + "\r\n" for line in lines).encode()


class Relay:
    """One ``sekisho serve`` or ``sekisho dev`` and the processes it starts, in a process group of their own."""

    def __init__(
        self, *arguments: str | Path, logs: Path, ca_file: Path | None = None, env: dict[str, str] | None = None
    ) -> None:
        self.arguments = [COMMAND, *map(str, arguments)]
        self.logs = logs
        self.ready: Document = None
        self._ca_file = ca_file
        self._more = env or {}
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(PATIENCE_S)
        self.kill_group()

    def start(self) -> Document:
        """Start, wait for the line that says so, and return what it says."""
        self._starts += 1
        self.logs.mkdir(parents=True, exist_ok=True)
        out = self.logs / f"stdout.{self._starts}"
        with out.open("wb") as stdout, self.log.open("ab") as stderr:
            process = self._process = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                env=environment() | self._more,  # read at each start: tests set it in between
            )
        eventually(
            lambda: b"\n" in out.read_bytes() or process.poll() is not None, "a line on stdout", timeout_s=PATIENCE_S
        )
        line = out.read_text().partition("\n")[0]
        if process.poll() is not None and not line:
            message = f"exit {process.returncode} before ready:\n{self.log.read_text()[-4000:]}"
            raise CommandFailed(message)
        self.ready = json.loads(line)
        assert self.ready["ready"] is True
        return self.ready

    @property
    def log(self) -> Path:
        return self.logs / "stderr"

    @property
    def pid(self) -> int:
        """The supervisor's."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def workers(self) -> list[int]:
        """The supervisor's children."""
        return children(self.pid)

    @property
    def signers(self) -> list[int]:
        """The workers' children, who hold the keys."""
        return [pid for worker in self.workers for pid in children(worker)]

    def send_signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Wait for the end; insist that no process of the group outlives it by more than a moment."""
        assert self._process is not None
        status = self._process.wait(timeout_s)
        eventually(lambda: not self.group_alive(), "the workers' end", timeout_s=10)
        return status

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.send_signal(number)
        return self.wait()

    def group_alive(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def kill_group(self) -> None:
        """Kill -9 supervisor and workers at one blow."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait(10)
        eventually(lambda: not self.group_alive(), "the group's end", timeout_s=10)

    # Talking to it.

    def port(self, tls: str = "starttls") -> int:
        """The first listener of that kind."""
        address = next(door["address"] for door in self.ready["smtp"] if door["tls"] == tls)
        return int(address.rpartition(":")[2])

    def trust(self) -> ssl.SSLContext:
        """A client context that believes this server's certificate and nothing else."""
        file = self._ca_file or Path(self.ready["ca_file"])
        return ssl.create_default_context(cafile=str(file))

    def client(self, key: str | None = None, *, tls: str = "starttls", host: str = "127.0.0.1") -> smtplib.SMTP:
        """A stock client, over TLS, logged in when a key is given."""
        if tls == "implicit":
            smtp: smtplib.SMTP = smtplib.SMTP_SSL(host, self.port(tls), timeout=PATIENCE_S, context=self.trust())
        else:
            smtp = smtplib.SMTP(host, self.port(), timeout=PATIENCE_S)
        try:
            if tls == "starttls":
                smtp.starttls(context=self.trust())
            if key is not None:
                smtp.login("apikey", key)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def send(self, key: str, message: bytes, to: str = "reader@sink.test", sender: str = "ann@example.test") -> str:
        """Hand one message in; return the id it is queued as."""
        with contextlib.closing(self.client(key)) as smtp:
            return submit(smtp, message, to, sender=sender)

    def log_lines(self) -> list[Document]:
        """Every structured line so far."""
        found = []
        for line in self.log.read_text().splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found


def submit(smtp: smtplib.SMTP, message: bytes, *to: str, sender: str = "ann@example.test") -> str:
    """One transaction on an open session; return the id of the 250, raise smtplib's error on any other answer."""
    code, text = smtp.mail(sender)
    if code != 250:
        smtp.rset()
        raise smtplib.SMTPSenderRefused(code, text, sender)
    for recipient in to:
        code, text = smtp.rcpt(recipient)
        if code != 250:
            smtp.rset()
            raise smtplib.SMTPRecipientsRefused({recipient: (code, text)})
    code, text = smtp.data(message)
    if code != 250:
        raise smtplib.SMTPDataError(code, text)
    return text.decode().rpartition(" ")[2]
