"""Databases whose lock is in somebody else's hands."""

from __future__ import annotations

import contextlib
import smtplib
import sqlite3
import threading

import pytest

from tests.acceptance.relay import eventually, letter, submit
from tests.acceptance.site import Site
from tests.fakes.sink import Sink


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
