"""Keys and accounts while sessions are open: revoked, disabled, capped."""

from __future__ import annotations

import contextlib
import smtplib

import pytest

from tests.acceptance.relay import eventually, letter, submit
from tests.acceptance.site import Site
from tests.fakes.sink import Sink


def sent_away(smtp: smtplib.SMTP) -> bytes:
    """Ask until the answer is no longer 250; it must be 421. Return its text."""
    replies = eventually(lambda: [reply for reply in (smtp.noop(),) if reply[0] != 250], "421")
    assert replies[0][0] == 421, replies
    return replies[0][1]


def test_a_revoked_key_is_told_so_at_once(site: Site) -> None:
    with site.relay() as relay, contextlib.closing(relay.client(site.key)) as open_session:
        submit(open_session, letter(1), "reader@sink.test")
        site.run("key", "revoke", site.seed.key_id)
        assert sent_away(open_session).startswith(b"4.7.0")
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            relay.client(site.key)
        assert refused.value.smtp_code == 535


def test_a_disabled_account_sends_nothing_until_it_is_enabled(site: Site, sink: Sink) -> None:
    sink.answer = lambda verb, _: "451 4.7.1 Not yet" if verb == "RCPT" else None
    site.delivery = 'retry_first = "1s"\nretry_max = "1s"'
    site.write()
    with site.relay() as relay, contextlib.closing(relay.client(site.key)) as open_session:
        submit(open_session, letter(1), "reader@sink.test")
        site.run("account", "disable", "acme")
        assert sent_away(open_session).startswith(b"4.7.0")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            relay.client(site.key)
        sink.answer = lambda _verb, _argument: None
        # What was accepted is held, not lost: it goes out once the account is back.
        (row,) = site.queue()
        assert row["state"] == "sender disabled"
        assert not sink.letters
        site.run("account", "enable", "acme")
        sink.wait_for(1)


def test_caps_count_recipients_and_survive_kill_9(site: Site, sink: Sink) -> None:
    key = site.run("key", "create", "--account", "acme", "--name", "capped", "--daily", "3", "--max-recipients", "2")[
        "api_key"
    ]
    with site.relay_kept() as relay:
        relay.start()
        with contextlib.closing(relay.client(key)) as smtp:
            with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
                submit(smtp, letter(1), "a@sink.test", "b@sink.test", "c@sink.test")
            assert refused.value.recipients["c@sink.test"][0] == 452
            submit(smtp, letter(2), "a@sink.test", "b@sink.test")
        relay.kill_group()
        relay.start()
        with contextlib.closing(relay.client(key)) as smtp:
            with pytest.raises(smtplib.SMTPResponseException) as over:
                submit(smtp, letter(3), "a@sink.test", "b@sink.test")
            assert 400 <= over.value.smtp_code < 500
            submit(smtp, letter(4), "a@sink.test")
            with pytest.raises(smtplib.SMTPResponseException):
                submit(smtp, letter(5), "a@sink.test")
        sink.wait_for(2)
        assert relay.stop() == 0
