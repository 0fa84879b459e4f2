"""Signals under load: an end in time, reloads that nobody notices, and nothing lost or doubled."""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.relay import Relay, eventually, letter, submit
from tests.acceptance.site import Site
from tests.acceptance.test_dev import DEV
from tests.fakes.sink import Sink

CLIENTS = 3
DRAIN_S = 30


class Load:
    """Clients that hand in numbered letters on one session each until told to stop, or until it breaks."""

    def __init__(self, relay: Relay, key: str) -> None:
        self._relay = relay
        self._key = key
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(10_000 * n,)) for n in range(CLIENTS)]
        self.promised: set[int] = set()
        self.broken: list[Exception] = []

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        for thread in self._threads:
            thread.start()
        try:
            self.goes_on()
            yield
        finally:
            self.stop()

    def goes_on(self) -> None:
        """Wait until some more were promised."""
        before = len(self.promised)
        eventually(lambda: len(self.promised) > before + 20, lambda: f"more letters: {self.broken}")

    def _run(self, start: int) -> None:
        try:
            with contextlib.closing(self._relay.client(self._key)) as smtp:
                for number in range(start, start + 10_000):
                    if self._stopping.is_set():
                        return
                    submit(smtp, letter(number, filler=2000), "reader@sink.test")
                    self.promised.add(number)
        except (OSError, smtplib.SMTPException) as error:
            self.broken.append(error)


def accounted(site: Site, relay: Relay, sink: Sink, promised: set[int]) -> None:
    """Start again where needed and run empty: each promise was delivered once and told once."""
    if not relay.running:
        relay.start()
    eventually(lambda: not site.queue(), "an empty queue")
    copies = sink.copies()
    assert promised <= {number for number, _ in copies}
    assert set(copies.values()) == {1}
    eventually(lambda: told(site) == {1}, "one event for each")
    assert relay.stop() == 0


def told(site: Site) -> set[int]:
    """How often the delivery of a message is told."""
    seen = [event["message_id"] for event in site.events() if event["event"] == "delivered"]
    return {seen.count(one) for one in seen}


def to_group(relay: Relay) -> None:
    """As systemd does it: the supervisor and all that it started hear it at once."""
    os.killpg(relay.pid, signal.SIGTERM)


def twice(relay: Relay) -> None:
    """As whoever is impatient does it, and a group that is told once more."""
    relay.send_signal(signal.SIGTERM)
    eventually(lambda: any(line["event"] == "server.draining" for line in relay.log_lines()), "the drain")
    with contextlib.suppress(ProcessLookupError):
        os.killpg(relay.pid, signal.SIGTERM)
        os.killpg(relay.pid, signal.SIGHUP)


@pytest.mark.parametrize("end", [to_group, twice])
def test_sigterm_under_load_ends_in_time_and_each_promise_is_kept_once(
    site: Site, sink: Sink, end: Callable[[Relay], None]
) -> None:
    sink.body_delay_s = 0.05  # something is always on its way out
    with site.relay() as relay:
        load = Load(relay, site.key)
        with load.under_way():
            begun = time.monotonic()
            end(relay)
            assert relay.wait() == 0
            assert time.monotonic() - begun < DRAIN_S
        assert len(load.broken) == CLIENTS
        events = [line["event"] for line in relay.log_lines()]
        assert "server.drain_cut_short" not in events
        assert "worker.lost" not in events
        accounted(site, relay, sink, load.promised)


def test_a_second_sigint_ends_at_once_and_what_was_promised_is_kept(site: Site, sink: Sink) -> None:
    """What is killed in flight may arrive twice, as after any crash; nothing is lost."""
    sink.body_delay_s = 3600  # nothing is ever taken: the drain would go on to its end
    with site.relay() as relay:
        load = Load(relay, site.key)
        with load.under_way():
            relay.send_signal(signal.SIGINT)
            eventually(lambda: any(line["event"] == "server.draining" for line in relay.log_lines()), "the drain")
            begun = time.monotonic()
            relay.send_signal(signal.SIGINT)
            assert relay.wait() == 0
            assert time.monotonic() - begun < DRAIN_S / 2
        sink.body_delay_s = 0
        accounted(site, relay, sink, load.promised)


def test_a_storm_of_reloads_under_load_drops_nobody_and_ends_with_the_last_configuration(
    site: Site, sink: Sink
) -> None:
    with site.relay() as relay:
        load, workers = Load(relay, site.key), relay.workers
        with load.under_way():
            for number in range(100):
                site.smtp = f'max_message_size = "{1000 + number}KiB"'
                site.write()
                relay.send_signal(signal.SIGHUP)
                time.sleep(0.01)  # a hundred in a second
            load.goes_on()

            def offered() -> bool:
                with contextlib.closing(relay.client(site.key)) as smtp:
                    smtp.ehlo()
                    return smtp.esmtp_features["size"] == str(1099 * 1024)

            eventually(offered, "the last configuration")
            load.goes_on()
            assert not load.broken
        assert relay.workers == workers
        worst = {line["event"] for line in relay.log_lines() if line.get("level") in {"warning", "error"}}
        assert not worst & {"config.refused", "certificate.refused", "worker.lost", "worker.deaf", "worker.fault"}
        accounted(site, relay, sink, load.promised)


def test_a_file_that_is_being_written_at_a_reload_is_not_taken_for_the_defaults(site: Site, sink: Sink) -> None:
    with site.relay() as relay:
        whole = site.config.read_text()
        site.config.write_text("")
        relay.send_signal(signal.SIGHUP)
        refused = eventually(
            lambda: [line for line in relay.log_lines() if line["event"] == "config.refused"], "a complaint"
        )
        assert (refused[0]["key"], refused[0]["reason"]) == (str(site.config), "the file is empty")
        relay.send(site.key, letter(1))
        sink.wait_for(1)  # by its route
        site.config.write_text(whole)
        relay.send_signal(signal.SIGHUP)
        eventually(lambda: any(line["event"] == "config.reloaded" for line in relay.log_lines()), "the reload")
        assert relay.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_dev_ends_with_its_terminal_and_keeps_what_it_took(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C and a closed terminal reach the whole group."""
    with Relay(*DEV, tmp_path / "data", logs=tmp_path / "logs") as relay:
        relay.send(relay.ready["api_key"], letter(1))
        os.killpg(relay.pid, number)
        assert relay.wait() == 0
        assert not any(line["event"] in {"worker.lost", "worker.fault"} for line in relay.log_lines())
