"""A 250 is a promise: what it covers is on disk first, and where the disk says no there is none."""

from __future__ import annotations

import contextlib
import re
import smtplib
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.acceptance.relay import Relay, eventually, letter, submit
from tests.acceptance.site import Seed, Site
from tests.acceptance.tracing import Call, Strace, relay_worker, skip_without_strace
from tests.fakes.sink import Sink

SYNCS = "fdatasync,fsync"
WAL = "/spool/spool.db-wal"
EXIT_SUSPECT = 74
LONGER_THAN_COMMANDS = 1500


@pytest.fixture(autouse=True)
def _traceable() -> None:
    skip_without_strace()


@pytest.fixture
def site(site: Site) -> Site:
    site.server = "workers = 1"
    site.delivery = 'retry_first = "1s"\nretry_max = "2s"'
    site.write()
    return site


class Client:
    """A session that hands in numbered letters one by one and notes each promise."""

    def __init__(self, relay: Relay, key: str, start: int, *, filler: int = 2000) -> None:
        self._relay = relay
        self._key = key
        self._start = start
        self._filler = filler
        self.port = 0
        self.tried: list[int] = []
        self.promised: list[int] = []

    def run(self, count: int) -> None:
        with contextlib.suppress(OSError, smtplib.SMTPException), contextlib.closing(self._session()) as smtp:
            for number in range(self._start, self._start + count):
                self.tried.append(number)
                submit(smtp, letter(number, filler=self._filler), "reader@sink.test")
                self.promised.append(number)

    def _session(self) -> smtplib.SMTP:
        smtp = self._relay.client(self._key)
        assert smtp.sock is not None
        self.port = smtp.sock.getsockname()[1]
        return smtp


def together(clients: list[Client], count: int) -> None:
    threads = [threading.Thread(target=client.run, args=(count,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def answers(calls: list[Call], client: Client) -> Iterator[tuple[int, Call, Call]]:
    """Each answered letter with the read that ended it and the write that answered it.

    The client waits for each answer, and nothing else that it says is so long: what is behind TLS need not be read to
    be told apart.
    """
    mine = [call for call in calls if call.target.endswith(f"->127.0.0.1:{client.port}]") and call.result > 0]
    ends = [
        (read, write)
        for read, write in pairwise(mine)
        if (read.name, write.name) == ("read", "write") and read.result > LONGER_THAN_COMMANDS
    ]
    assert len(client.promised) <= len(ends) <= len(client.tried)
    for number, (read, write) in zip(client.tried, ends, strict=False):
        yield number, read, write


def is_covered(calls: list[Call], number: int, read: Call, write: Call) -> bool:
    """Its octets went into the log after it came; a sync of the log began after that and was over before its 250."""
    said = re.compile(rf"X-Test-Seq: {number}(?!\d)")
    written = [
        call
        for call in calls
        if call.name == "pwrite64" and WAL in call.target and read.ended < call.begun and said.search(call.arguments)
    ]
    return any(
        call.name in SYNCS.split(",")
        and WAL in call.target
        and call.result == 0
        and written[0].ended < call.begun
        and call.ended < write.begun
        for call in calls
        if written
    )


LOOK = ("-s", "5000", "-e", f"trace=read,write,pwrite64,{SYNCS}")


def covered(calls: list[Call], clients: list[Client]) -> int:
    """Insist that every answer to a letter came after its sync; how many there were."""
    found = 0
    for client in clients:
        for number, read, write in answers(calls, client):
            assert is_covered(calls, number, read, write), number
            found += 1
    return found


@pytest.mark.parametrize("number_of_clients", [1, 6])
def test_the_sync_that_covers_a_letter_is_over_before_its_250(
    site: Site, tmp_path: Path, number_of_clients: int
) -> None:
    with site.relay() as relay:
        clients = [Client(relay, site.key, 1000 * (n + 1)) for n in range(number_of_clients)]
        with Strace(relay_worker(relay), tmp_path / "trace", *LOOK) as strace:
            together(clients, 8)
        assert relay.stop() == 0
    assert all(len(client.promised) == 8 for client in clients)
    assert covered(strace.calls(), clients) == 8 * number_of_clients


def test_a_trace_without_the_sync_would_be_noticed() -> None:
    read = Call("read", "5<TCP:[127.0.0.1:25->127.0.0.1:9]>", 5, 0, 0)
    wal = f"7</data{WAL}>"
    row = Call("pwrite64", f'{wal}, "X-Test-Seq: 12\\r\\n", 5000, 0', 5000, 1, 1)
    sync = Call("fdatasync", wal, 0, 2, 3)
    write = Call("write", "5<TCP:[127.0.0.1:25->127.0.0.1:9]>", 5, 4, 4)
    assert is_covered([read, row, sync, write], 12, read, write)
    assert not is_covered([read, row, write], 12, read, write)
    assert not is_covered([read, row, sync, write], 1, read, write)
    late = Call("fdatasync", wal, 0, 2, 5)
    assert not is_covered([read, row, write, late], 12, read, write)
    early = Call("fdatasync", wal, 0, 0, 1)
    assert not is_covered([read, early, row, write], 12, read, write)
    failed = Call("fdatasync", wal, -1, 2, 3)
    assert not is_covered([read, row, failed, write], 12, read, write)


def lose(site: Site, sink: Sink, trace: Path, fault: str) -> int:
    """Let the disk fail once under load; how many promises there were before. All of them are kept."""
    with site.relay() as relay:
        worker = relay_worker(relay)
        clients = [Client(relay, site.key, 1000 * (n + 1)) for n in range(3)]
        with Strace(worker, trace, *LOOK, "-e", f"inject={fault}") as strace:
            together(clients, 60)
            eventually(lambda: worker not in relay.workers, "the end of the worker whose disk failed")
        covered(strace.calls(), clients)
        promised = {number for client in clients for number in client.promised}
        tried = {number for client in clients for number in client.tried}
        assert promised < tried
        # The next worker prepared the spool before it opened its doors.
        eventually(lambda: any(line["event"] == "spool.recovered" for line in relay.log_lines()), "the recovery")
        eventually(lambda: not site.queue(), "an empty queue")
        assert relay.stop() == 0
        lost = [line for line in relay.log_lines() if line["event"] == "worker.lost"]
        # Whoever else has the spool open lets go of it as well, for the recovery.
        assert worker in {line["worker_pid"] for line in lost}
        assert {line.get("status") for line in lost} == {EXIT_SUSPECT}
        assert len({line["worker"] for line in lost}) == len(lost)
        assert [line["event"] for line in relay.log_lines()].count("spool.suspect") == 1
    arrived = {letter.sequence for letter in sink.letters}
    assert promised <= arrived <= tried
    return len(promised)


@pytest.mark.parametrize("nth", [1, 9])
def test_a_failed_sync_answers_nobody_and_the_next_start_has_all_that_was_promised(
    site: Site, sink: Sink, tmp_path: Path, nth: int
) -> None:
    promised = lose(site, sink, tmp_path / "trace", f"fdatasync:error=EIO:when={nth}")
    assert bool(promised) == (nth > 1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_sync_of_a_run_fails_in_turn(seed: Seed, tmp_path: Path) -> None:
    kept = 0
    # The second is SQLite's, of the directory, and a failure of it goes unheard: the writer's own came before.
    for nth in (1, *range(3, 26)):
        with Sink() as sink:
            site = Site(tmp_path / str(nth), seed, sink.port, server="workers = 1")
            kept += lose(site, sink, site.folder / "trace", f"fdatasync:error=EIO:when={nth}")
    assert kept > 100


def test_a_failed_write_is_no_better(site: Site, sink: Sink, tmp_path: Path) -> None:
    lose(site, sink, tmp_path / "trace", "pwrite64:error=EIO:when=40")
