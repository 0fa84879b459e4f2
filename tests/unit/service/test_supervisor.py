"""The supervisor with real processes, real signals and doors that only tell what the worker behind them knows."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T")

PATIENCE_S = 60
ROOT = Path(__file__).parents[3]


def eventually(ask: Callable[[], T]) -> T:
    """Wait for what has no notification; the deadline only ends a failing test."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


class Toy:
    """One server of ``tests.unit.service.toy`` in a process group of its own."""

    def __init__(
        self, folder: Path, *, data: Path | None = None, server: str = "", smtp: str = "", doors: int = 1
    ) -> None:
        self.folder = folder
        self.data = data or folder / "data"
        self.config = folder / "sekisho.toml"
        self.write(server=server, smtp=smtp, doors=doors)
        self.ready: Any = None
        self.start()

    def write(self, *, server: str = "", smtp: str = "", doors: int = 1) -> None:
        self.config.write_text(
            f'[server]\nhostname = "relay.test"\ndata_dir = "{self.data}"\n{server}\n[smtp]\n{smtp}\n'
            + '[[smtp.listeners]]\naddress = "127.0.0.1:0"\n' * doors
            + '[http]\naddress = "127.0.0.1:0"\n'
        )

    def start(self) -> None:
        self.out, self.err = self.folder / "out", self.folder / "err"
        with self.out.open("wb") as out, self.err.open("ab") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.unit.service.toy", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                cwd=ROOT,
            )

    def until_ready(self) -> Toy:
        eventually(lambda: b"\n" in self.out.read_bytes() or self.process.poll() is not None)
        assert self.process.poll() is None, self.err.read_text()
        self.ready = json.loads(self.out.read_bytes())
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.ready["smtp"][0]["address"].rpartition(":")[2])

    def connect(self, port: int | None = None) -> Visit:
        return Visit(socket.create_connection(("127.0.0.1", port or self.port), PATIENCE_S))

    def ask(self, port: int | None = None) -> Any:
        with contextlib.closing(self.connect(port)) as visit:
            return visit.told

    def ask_over_the_death_of(self, pid: int) -> Any:
        """Connect while that worker cannot answer any more, and be answered by its successor."""
        os.kill(pid, signal.SIGSTOP)
        waiting = socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)
        os.kill(pid, signal.SIGKILL)
        with contextlib.closing(Visit(waiting)) as visit:
            return visit.told

    def log(self) -> list[Any]:
        found = []
        for line in self.err.read_text().splitlines():
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def logged(self, event: str) -> Any:
        return eventually(lambda: next((line for line in self.log() if line["event"] == event), None))

    def group_alive(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def status(self) -> int:
        """Wait for the end, which is everybody's."""
        status = self.process.wait(PATIENCE_S)
        eventually(lambda: not self.group_alive())
        return status

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        os.kill(self.pid, number)
        return self.status()

    def clear(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        eventually(lambda: not self.group_alive())


class Visit:
    """An open connection, and what it was told."""

    def __init__(self, one: socket.socket) -> None:
        self._socket = one
        self._file = one.makefile("rb")
        self.told = json.loads(self._file.readline())

    def leave(self) -> bytes:
        self._socket.sendall(b".")
        return self._file.readline()

    def close(self) -> None:
        self._file.close()
        self._socket.close()


MakeToy = Callable[..., Toy]


@pytest.fixture
def toy(tmp_path: Path) -> Iterator[MakeToy]:
    made: list[Toy] = []

    def make(**settings: Any) -> Toy:
        made.append(Toy(tmp_path, **settings))
        return made[-1]

    yield make
    for one in made:
        one.clear()


def test_every_worker_has_its_own_sockets_and_nothing_else_that_listens(toy: MakeToy) -> None:
    server = toy(server="workers = 2", doors=2).until_ready()
    assert server.ready["ready"] is True
    assert [door["tls"] for door in server.ready["smtp"]] == ["starttls", "starttls"]
    assert server.ready["data_dir"] == str(server.folder / "data")
    assert Path(server.ready["ca_file"]).read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    seen: dict[int, Any] = {}
    # The kernel spreads connections by their addresses: both come up sooner or later.
    eventually(lambda: seen.update({(told := server.ask())["index"]: told}) or len(seen) == 2)
    assert {told["listening"] for told in seen.values()} == {2}
    web = server.ask(int(server.ready["http"].rpartition(":")[2]))
    assert (web["role"], web["listening"]) == ("web", 1)
    assert len({web["pid"], *(told["pid"] for told in seen.values()), server.pid}) == 4
    assert server.end() == 0


def test_a_killed_worker_is_replaced_behind_the_same_socket(toy: MakeToy) -> None:
    server = toy().until_ready()
    before = server.ask()
    assert before["forgotten"] == [0]
    after = server.ask_over_the_death_of(before["pid"])
    assert after["pid"] != before["pid"]
    assert (after["index"], after["forgotten"]) == (0, [1])
    assert server.logged("worker.lost")["signal"] == "SIGKILL"
    assert server.end() == 0


def test_workers_end_with_their_supervisor_and_leave_room_for_the_next(toy: MakeToy) -> None:
    server = toy(server="workers = 2").until_ready()
    open_visit = server.connect()
    assert server.end(signal.SIGKILL) == -signal.SIGKILL
    open_visit.close()
    server.start()
    server.until_ready()
    assert server.end() == 0


def test_sigterm_finishes_what_is_open_and_takes_nothing_new(toy: MakeToy) -> None:
    server = toy().until_ready()
    visit = server.connect()
    os.kill(server.pid, signal.SIGTERM)

    def refused() -> bool:
        try:
            server.connect().close()
        except (OSError, ValueError):
            return True
        return False

    eventually(refused)
    assert server.process.poll() is None
    assert visit.leave() == b"bye\n"
    visit.close()
    assert server.status() == 0


def test_a_drain_has_an_end(toy: MakeToy) -> None:
    server = toy(server="drain_s = 0.5").until_ready()
    visit = server.connect()
    assert server.end() == 0
    assert server.logged("server.drain_cut_short")["workers"] == ["relay-0"]
    visit.close()


def test_whoever_asks_twice_at_the_terminal_does_not_wait(toy: MakeToy) -> None:
    server = toy(server="drain_s = 3600").until_ready()
    visit = server.connect()
    os.kill(server.pid, signal.SIGINT)
    server.logged("server.draining")
    assert server.end(signal.SIGINT) == 0
    visit.close()


def test_sighup_brings_limits_and_certificate_and_names_what_has_to_wait(toy: MakeToy) -> None:
    server = toy(smtp="max_recipients = 10").until_ready()
    visit = server.connect()
    assert visit.told["recipients"] == 10
    (server.folder / "data" / "tls.crt").unlink()
    server.write(server="workers = 3", smtp="max_recipients = 20")
    os.kill(server.pid, signal.SIGHUP)
    eventually(lambda: server.ask()["recipients"] == 20)
    told = server.ask()
    assert told["pid"] == visit.told["pid"]
    assert told["certificate"] != visit.told["certificate"]
    assert server.logged("config.needs_restart")["keys"] == ["server.workers"]
    assert visit.leave() == b"bye\n"
    visit.close()
    # A worker that is started later has the same in force.
    assert server.ask_over_the_death_of(told["pid"])["recipients"] == 20
    assert server.end() == 0


def test_a_bad_configuration_changes_nothing(toy: MakeToy) -> None:
    server = toy(smtp="max_recipients = 10").until_ready()
    server.write(smtp="max_recipients = 20\nnonsense = 1")
    os.kill(server.pid, signal.SIGHUP)
    refused = server.logged("config.refused")
    assert (refused["key"], "not a key" in refused["reason"]) == ("smtp.nonsense", True)
    assert server.ask()["recipients"] == 10
    assert server.end() == 0


def test_workers_that_never_get_ready_end_the_server(toy: MakeToy, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    (data / "broken").touch()
    server = toy()
    assert server.status() == 1
    assert server.logged("worker.start_failed")["status"] == 7


def test_a_second_server_on_the_same_data_is_refused(toy: MakeToy) -> None:
    server = toy().until_ready()
    second = subprocess.run(
        server.process.args, capture_output=True, text=True, check=False, timeout=PATIENCE_S, cwd=ROOT
    )
    assert second.returncode == 1
    assert "another server (relay) is using this data directory" in second.stderr
    assert server.ask()["role"] == "relay"
    assert server.end() == 0


def test_an_address_in_use_is_named(toy: MakeToy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = toy(smtp=f'[[smtp.listeners]]\naddress = "127.0.0.1:{port}"', server="workers = 2")
        assert server.status() == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in server.err.read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give root up")
def test_workers_give_root_up_for_good(toy: MakeToy) -> None:
    nobody = pwd.getpwnam("nobody")
    # pytest's own directories are closed to that user.
    with tempfile.TemporaryDirectory(prefix="sekisho-test-") as folder:
        Path(folder).chmod(0o711)
        server = toy(server='user = "nobody"', data=Path(folder) / "data").until_ready()
        told = server.ask()
        assert told["ids"] == [[nobody.pw_uid] * 3, [nobody.pw_gid] * 3, [nobody.pw_gid]]
        data = Path(folder) / "data"
        assert {path.stat().st_uid for path in (data, *data.rglob("*"))} == {nobody.pw_uid}
        assert data.stat().st_mode & 0o777 == 0o700
        assert server.end() == 0
