"""A disk that fails under control data or events: an error is told, nothing is lost, and each event is stored once."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.relay import COMMAND, Relay, environment, eventually, letter
from tests.acceptance.site import Site
from tests.acceptance.tracing import Strace, skip_without_strace
from tests.fakes.sink import Sink

LETTERS = 20


@pytest.fixture(autouse=True)
def _traceable() -> None:
    skip_without_strace()


@pytest.fixture
def site(site: Site) -> Site:
    site.server = "workers = 1"
    site.write()
    return site


def web_worker(relay: Relay) -> int:
    """Events are moved there."""
    (found,) = (pid for pid in relay.workers if Path(f"/proc/{pid}/comm").read_text().startswith("sekisho-web"))
    return found


def fail(path: Path, calls: str, when: str) -> tuple[str, ...]:
    """Options for strace: these calls on this file fail, and no others."""
    return ("-P", str(path), "-e", f"trace={calls}", "-e", f"inject={calls}:error=EIO:when={when}")


def told(site: Site) -> Counter[tuple[str, str]]:
    return Counter((event["message_id"], event["event"]) for event in site.events())


@pytest.mark.parametrize(
    ("calls", "when"),
    [("fdatasync,fsync", "1"), pytest.param("fdatasync,fsync", "2..4", marks=pytest.mark.slow), ("pwrite64", "1..3")],
)
def test_events_wait_in_the_spool_while_their_store_fails(
    site: Site, sink: Sink, tmp_path: Path, calls: str, when: str
) -> None:
    with site.relay() as relay:
        wal = site.data / "events.db-wal"
        relay.send(site.key, letter(0))
        eventually(lambda: len(told(site)) == 2, "the first events")
        with Strace(web_worker(relay), tmp_path / "trace", *fail(wal, calls, when)) as strace:
            ids = {relay.send(site.key, letter(1 + n)) for n in range(LETTERS)}
            sink.wait_for(1 + LETTERS)
            complete = {(one, kind) for one in ids for kind in ("processed", "delivered")}
            eventually(lambda: complete <= told(site).keys(), "all events", timeout_s=40)
        assert any(call.result == -1 for call in strace.calls())
        failed = [line for line in relay.log_lines() if line["event"] == "mover.failed"]
        assert failed
        assert {line["level"] for line in failed} == {"warning"}
        assert "disk I/O error" in failed[0]["error"]
        assert set(told(site).values()) == {1}
        assert not site.queue()
        assert relay.stop() == 0
    assert set(sink.copies().values()) == {1}


@pytest.mark.parametrize("calls", ["fdatasync,fsync", "pwrite64"])
def test_a_change_of_control_data_that_could_not_be_synced_is_an_error_and_no_change(
    site: Site, sink: Sink, tmp_path: Path, calls: str
) -> None:
    with site.relay() as relay:
        before = site.run("key", "list", "--account", "acme")
        command = [COMMAND, "key", "create", "--account", "acme", "--name", "second", "--config", str(site.config)]
        injected = fail(site.data / "control.db-wal", calls, "1+")
        done = subprocess.run(
            ["strace", "-f", "-o", str(tmp_path / "trace"), *injected, *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=environment() | {"PYTHONDONTWRITEBYTECODE": "1"},
        )
        assert "INJECTED" in (tmp_path / "trace").read_text()
        assert done.returncode == 1
        assert "disk I/O error" in done.stderr
        assert "Traceback" not in done.stderr
        assert "SG." not in done.stdout
        assert site.run("key", "list", "--account", "acme") == before

        # Nobody who runs has noticed, and the next change is made and obeyed.
        relay.send(site.key, letter(1))
        fresh = site.run("key", "create", "--account", "acme", "--name", "second")["api_key"]
        relay.send(fresh, letter(2))
        sink.wait_for(2)
        assert relay.stop() == 0
