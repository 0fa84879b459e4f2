"""A message that kills whoever sends it: it alone ends aside, whatever goes beside it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

import pytest

from tests.acceptance.relay import Relay, children, eventually, letter, submit
from tests.acceptance.site import Site
from tests.fakes.sink import Sink

TRIES = 5
INNOCENT = 60


class Killer:
    """The next hop's answers: nobody gets in before ``prey`` is set, and then it dies of the poison."""

    def __init__(self) -> None:
        self.prey: Relay | None = None
        self.kills = 0
        self.is_mended = False

    def __call__(self, verb: str, argument: str) -> str | None:
        if verb != "RCPT" or self.is_mended:
            return None
        if self.prey is None:
            return "450 4.2.0 Later"
        if "poison" not in argument:
            return None
        for worker in self.prey.workers:
            if children(worker):  # its signers: this is the one that relays
                os.kill(worker, signal.SIGKILL)
                self.kills += 1
        return "close"


@pytest.fixture
def killer() -> Killer:
    return Killer()


@pytest.fixture
def sink(killer: Killer) -> Iterator[Sink]:
    with Sink(answer=killer) as sink:
        yield sink
        assert not sink.faults, sink.faults


def test_a_message_that_kills_its_worker_is_set_aside_and_all_others_arrive(
    site: Site, sink: Sink, killer: Killer
) -> None:
    site.server = "workers = 1"
    site.delivery = 'retry_first = "2s"\nretry_max = "2s"'
    site.write()
    with site.relay() as relay:
        with contextlib.closing(relay.client(site.key)) as smtp:
            for number in range(INNOCENT):
                submit(smtp, letter(number), f"reader{number}@sink.test")
                if number == INNOCENT // 2:
                    poison = submit(smtp, letter(1000), "poison@sink.test")
        killer.prey = relay
        eventually(lambda: [line["state"] for line in site.queue()] == ["set aside"], timeout_s=150)
        assert killer.kills == TRIES
        assert {number for number, _ in sink.copies()} == set(range(INNOCENT))

        (left,) = site.queue()
        assert (left["message_id"], left["recipient"]) == (poison, "poison@sink.test")
        (shown,) = site.run("queue", "show", poison)["recipients"]
        assert "worker process of this server ended 5 times" in shown["last_reply"]
        told = [line for line in relay.log_lines() if line.get("event") == "delivery.set_aside"]
        assert [(line["message"], line["faults"]) for line in told] == [(poison, TRIES)]

        # It is alone with that: its destination is served, and nothing dies of it any more.
        relay.send(site.key, letter(INNOCENT), "reader@sink.test")
        eventually(lambda: (INNOCENT, "reader@sink.test") in sink.copies())

        # Whoever lets it go has it tried anew: mended, it arrives.
        killer.is_mended = True
        site.run("queue", "release", poison)
        eventually(lambda: (1000, "poison@sink.test") in sink.copies())
        assert not site.queue()
    assert killer.kills == TRIES
