"""The ``queue`` commands, on a running server and on a stopped one."""

from __future__ import annotations

import contextlib

from tests.acceptance.relay import Relay, eventually, letter, submit
from tests.acceptance.site import Site
from tests.fakes.sink import Sink


def waiting(site: Site, relay: Relay, sink: Sink, count: int) -> list[str]:
    """Queue that many messages that the next hop does not take yet; return their ids."""
    sink.answer = lambda verb, _: "451 4.7.1 Not yet" if verb == "RCPT" else None
    with contextlib.closing(relay.client(site.key)) as smtp:
        ids = [submit(smtp, letter(number), "reader@sink.test") for number in range(count)]
    eventually(lambda: [row["attempts"] for row in site.queue()] == [1] * count, "first attempts")
    return ids


def test_the_queue_obeys_while_the_server_runs(site: Site, sink: Sink) -> None:
    with site.relay() as relay:
        first, second, third = waiting(site, relay, sink, 3)
        site.run("queue", "hold", second)
        site.run("queue", "drop", third)
        sink.answer = lambda _verb, _argument: None
        assert site.run("queue", "show", first)["message_id"] == first
        site.run("queue", "retry", "--all")
        assert [found.sequence for found in sink.wait_for(1)] == [0]
        eventually(lambda: len(site.queue()) == 1, "one left")
        site.run("queue", "release", second)
        assert [found.sequence for found in sink.wait_for(2)] == [0, 1]
        eventually(lambda: not site.queue(), "none left")
        ended = {
            event["message_id"]: event["event"] for event in site.events() if event["event"] in {"dropped", "delivered"}
        }
        eventually(lambda: ended, "events")
        assert relay.stop() == 0


def test_the_queue_obeys_while_the_server_is_stopped(site: Site, sink: Sink) -> None:
    with site.relay() as relay:
        first, second, third = waiting(site, relay, sink, 3)
        assert relay.stop() == 0
        assert {row["message_id"] for row in site.queue()} == {first, second, third}
        site.run("queue", "hold", second)
        site.run("queue", "drop", third)
        site.run("queue", "retry", "--all")
        sink.answer = lambda _verb, _argument: None
        relay.start()
        assert [found.sequence for found in sink.wait_for(1)] == [0]
        assert relay.stop() == 0
        (left,) = site.queue()
        assert (left["message_id"], left["state"]) == (second, "held")
    assert len(sink.letters) == 1
