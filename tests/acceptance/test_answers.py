"""Whom a refusal is about, as the events tell it."""

from __future__ import annotations

import contextlib

from tests.acceptance.relay import eventually, letter, submit
from tests.acceptance.site import Site
from tests.fakes.sink import Sink

REFUSALS = {
    "gone@sink.test": ("550 5.7.1 No such user!", "bounce", "Invalid Address"),
    "listed@sink.test": ("550 5.1.1 refused: blocked using zen.spamhaus.org", "blocked", "Reputation"),
    "full@sink.test": ("552 5.2.2 mailbox full", "blocked", "Mailbox Unavailable"),
    "mute@sink.test": ("550 no", "blocked", "Unclassified"),
}


def test_events_tell_a_bad_address_from_a_refusal_of_us(site: Site, sink: Sink) -> None:
    def answer(verb: str, argument: str) -> str | None:
        recipient = argument.partition("<")[2].partition(">")[0]
        return REFUSALS[recipient][0] if verb == "RCPT" and recipient in REFUSALS else None

    sink.answer = answer
    with site.relay() as relay:
        with contextlib.closing(relay.client(site.key)) as smtp:
            submit(smtp, letter(1), *REFUSALS, "reader@sink.test")
        sink.wait_for(1)

        def bounces() -> dict[str, tuple[str, str, str]]:
            return {
                event["email"]: (event["reason"], event["type"], event["bounce_classification"])
                for event in site.events()
                if event["event"] == "bounce"
            }

        eventually(lambda: len(bounces()) == len(REFUSALS), "the events")
        assert bounces() == REFUSALS
        assert relay.stop() == 0
