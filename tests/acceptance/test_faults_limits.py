"""What runs out, or is in somebody else's hands: descriptors, and the locks of the databases."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import sqlite3
import threading

import pytest

from tests.acceptance.relay import eventually, letter, submit
from tests.acceptance.site import Site
from tests.fakes.sink import Sink


def test_without_descriptors_the_crowd_is_refused_and_mail_goes_on(site: Site, sink: Sink) -> None:
    relay = site.relay()
    # Of these 256 are kept for deliveries and files, so that fewer connections than the crowd's are let in.
    relay.arguments = ["prlimit", "--nofile=330:330", *relay.arguments]
    with relay, contextlib.closing(relay.client(site.key)) as smtp:
        workers = relay.workers
        with contextlib.ExitStack() as stack:
            for _ in range(300):
                crowd = socket.create_connection(("127.0.0.1", relay.port()), timeout=10)
                stack.callback(crowd.close)
            with pytest.raises(smtplib.SMTPConnectError, match="421"):
                relay.client(site.key)
            # Who is in already is served, and what is accepted is delivered.
            for number in range(5):
                submit(smtp, letter(number), "reader@sink.test")
            sink.wait_for(5)
        assert relay.workers == workers, "nobody died of it"
        eventually(lambda: _sent(relay.send, site, 9), "a new connection when the crowd is gone")
        sink.wait_for(6)
        assert relay.stop() == 0


@pytest.mark.parametrize("name", ["spool/spool.db", "control.db"])
def test_a_database_that_somebody_else_locks_is_waited_for(site: Site, sink: Sink, name: str) -> None:
    with site.relay() as relay, contextlib.closing(relay.client(site.key)) as smtp:
        submit(smtp, letter(0), "reader@sink.test")
        sink.wait_for(1)
        # A shell of its own process would lock the same way: SQLite's locks are between connections.
        with contextlib.closing(sqlite3.connect(site.data / name, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            heard: list[str] = []

            def hand_in() -> None:
                try:
                    heard.append(submit(smtp, letter(1), "reader@sink.test"))
                except (smtplib.SMTPResponseException, smtplib.SMTPRecipientsRefused) as error:
                    heard.append(str(error.args))

            client = threading.Thread(target=hand_in)
            client.start()
            client.join(40)
            assert not client.is_alive(), "an answer, whatever it is, and not for ever"
            shell.execute("ROLLBACK")
        if name == "control.db":
            assert "451" not in heard[0], "control data is cached: nothing to wait for"
        elif len(heard[0]) != 22:
            assert heard[0].startswith(("(451", "(452")), heard
        message = eventually(lambda: _sent(relay.send, site, 2), "accepting again")
        assert len(message) == 22
        sink.wait_for(2)
        assert relay.stop() == 0
    assert set(sink.copies().values()) == {1}


def _sent(send: object, site: Site, number: int) -> str:
    try:
        return send(site.key, letter(number))  # type: ignore[operator,no-any-return]
    except smtplib.SMTPResponseException as error:
        if error.smtp_code // 100 != 4:
            raise
        return ""
