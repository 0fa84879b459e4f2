"""The clock is set while mail is queued: nothing expires, nothing storms, and what is dated follows the wall."""

from __future__ import annotations

import contextlib
import smtplib
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.acceptance.relay import Relay, eventually, letter
from tests.acceptance.site import Site
from tests.acceptance.tracing import skip_without_faketime
from tests.fakes.sink import Sink

HOUR_S = 3600
TEN_YEARS_S = 3652 * 24 * HOUR_S
RETRY_S = 4


class Clock:
    """The clock of every process that this test starts; the test itself keeps the real one."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0)

    def set(self, seconds: int) -> None:
        # In one step: it is read at every look at the clock.
        fresh = self._file.with_name("fresh")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.replace(self._file)


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    for name, value in skip_without_faketime(tmp_path / "clock").items():
        monkeypatch.setenv(name, value)
    return Clock(tmp_path / "clock")


@pytest.fixture
def site(site: Site) -> Site:
    site.server = "workers = 1"
    site.delivery = f'retry_first = "{RETRY_S}s"\nretry_max = "{RETRY_S}s"\nmax_age = "2h"'
    site.write()
    return site


class Later:
    """The sink's answers: whoever is put off is taken once the test says so; counts the attempts."""

    def __init__(self) -> None:
        self.taking = threading.Event()
        self.asked: Counter[str] = Counter()

    def __call__(self, verb: str, argument: str) -> str | None:
        if verb == "RCPT" and "later+" in argument:
            self.asked[argument] += 1
            if not self.taking.is_set():
                return "450 4.2.0 Later"
        return None


@pytest.mark.parametrize(
    "jump_s",
    [TEN_YEARS_S, *(pytest.param(jump_s, marks=pytest.mark.slow) for jump_s in (HOUR_S, -HOUR_S, -TEN_YEARS_S))],
)
def test_a_clock_that_is_set_moves_no_retry_and_ends_no_mail(site: Site, sink: Sink, clock: Clock, jump_s: int) -> None:
    sink.answer = later = Later()
    count = 5
    expiring = site.run("key", "create", "--account", "acme", "--name", "short", "--expires", "30m")["api_key"]
    with site.relay() as relay:
        for number in range(count):
            relay.send(site.key, letter(number), to=f"later+{number}@sink.test")
        relay.send(expiring, letter(100))
        eventually(lambda: len(later.asked) == count, "a first attempt for each")

        clock.set(jump_s)
        begun = time.monotonic()
        eventually(lambda: min(later.asked.values()) >= 2, "a second attempt for each")
        waited_s = time.monotonic() - begun
        # One for each pause of at least half the time (jitter), and one that was due.
        assert max(later.asked.values()) <= 2 + waited_s / (RETRY_S / 2)
        assert len(site.queue()) == count
        (stepped,) = {round(line["by_s"]) for line in relay.log_lines() if line["event"] == "clock.stepped"}
        assert abs(stepped - jump_s) <= 1

        # New mail is taken and delivered, and a pass ends when the wall says so.
        relay.send(site.key, letter(101))
        assert is_good(relay, expiring) is (jump_s < 0)

        later.taking.set()
        eventually(lambda: not site.queue(), "an empty queue")
        kinds = Counter(event["event"] for event in site.events())
        assert (kinds["bounce"], kinds["dropped"]) == (0, 0)

        # What the certificate is worth is told by the wall, at the next look; it goes on serving.
        assert relay.stop() == 0
        relay.start()
        relay.send(site.key, letter(102))
        sink.wait_for(count + 3)
        doubts = [line["reason"] for line in relay.log_lines() if line["event"] == "certificate.doubtful"]
        assert any("expired" in doubt for doubt in doubts) is (jump_s == TEN_YEARS_S)
        assert any("not valid before" in doubt for doubt in doubts) is (jump_s == -TEN_YEARS_S)
        clock.set(0)
        relay.send(site.key, letter(103))
        sink.wait_for(count + 4)
        assert relay.stop() == 0
    assert set(sink.copies().values()) == {1}


def is_good(relay: Relay, key: str) -> bool:
    """Whether that key opens the door."""
    with contextlib.suppress(smtplib.SMTPAuthenticationError):
        relay.client(key).close()
        return True
    return False
