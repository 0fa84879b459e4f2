"""What may go out, through the real door: whose domain, from where, with which instructions, and what is told of it."""

from __future__ import annotations

import base64
import contextlib
import smtplib

import pytest

from tests.acceptance.relay import eventually, letter, submit
from tests.acceptance.site import Site
from tests.fakes.sink import Sink

IDENTITY = b"5.7.1 The from address does not match a verified Sender Identity."


def refusal(smtp: smtplib.SMTP, text: bytes, *recipients: str) -> tuple[int, bytes]:
    """Hand a message in and give the answer, which must be a refusal."""
    with pytest.raises(smtplib.SMTPDataError) as refused:
        smtp.sendmail("client@anywhere.test", recipients or ("r@sink.test",), text)
    error = refused.value.smtp_error
    return refused.value.smtp_code, error if isinstance(error, bytes) else error.encode()


def message(sender: str, more: str = "") -> bytes:
    return f"From: {sender}\r\nTo: all@sink.test\r\nSubject: hi\r\n{more}\r\nHello\r\n".encode()


def test_who_is_not_let_in_hears_why_in_the_vendors_words(site: Site) -> None:
    unscoped = site.run("key", "create", "--account", "acme", "--name", "u", "--scope", "stats.read")["api_key"]
    elsewhere = site.run("key", "create", "--account", "acme", "--name", "i", "--ip", "192.0.2.0/24")["api_key"]
    with site.relay() as relay:
        for user, key, answer in (
            ("someone@acme.test", site.key, (535, b"5.7.8 Authentication failed: Bad username / password")),
            ("APIKEY", site.key, (535, b"5.7.8 Authentication failed: Bad username / password")),
            ("apikey", unscoped, (550, b"5.7.1 Authenticated user is not authorized to send mail")),
            ("apikey", elsewhere, (451, b"4.7.1 Authentication failed: Could not authenticate")),
        ):
            with contextlib.closing(relay.client()) as smtp:
                smtp.ehlo()
                login = base64.b64encode(f"\0{user}\0{key}".encode()).decode()
                assert smtp.docmd("AUTH", f"PLAIN {login}") == answer


def test_only_an_own_domain_may_stand_in_from(site: Site, sink: Sink) -> None:
    with site.relay() as relay, contextlib.closing(relay.client(site.key)) as smtp:
        for sender in (
            "eve@evil.test",
            "eve@sub.example.test",
            "eve@test",
            "a@example.test, eve@evil.test",
            "x: a@example.test;",
            "a@example.test\r\nFrom: eve@evil.test",
            "a@example.test (<eve@evil.test>)",
        ):
            code, text = refusal(smtp, message(sender))
            assert (code, text.startswith(IDENTITY)) == (550, True), (sender, text)
        submit(smtp, message("=?utf-8?q?Ann?= <ann@EXAMPLE.test>"), "r@sink.test")
        sink.wait_for(1)


def test_a_subuser_uses_what_is_its_own_or_lent_and_changes_are_in_force_at_once(site: Site) -> None:
    site.run("subuser", "create", "shop", "--account", "acme")
    key = site.run("key", "create", "--account", "acme", "--subuser", "shop", "--name", "k")["api_key"]
    with site.relay() as relay, contextlib.closing(relay.client(key)) as smtp:
        assert refusal(smtp, message("a@example.test"))[0] == 550
        site.run("domain", "assign", "example.test", "--subuser", "shop")

        def taken() -> bool:
            try:
                submit(smtp, message("a@example.test"), "r@sink.test")
            except smtplib.SMTPDataError:
                return False
            return True

        assert eventually(taken, "the lent domain works")
        site.run("domain", "remove", "example.test")
        assert eventually(lambda: not taken(), "the removed domain no longer works")


def test_an_imported_key_works_as_it_is(site: Site) -> None:
    text = "SG." + "A" * 22 + "." + "b" * 43
    site.run("key", "create", "--import", "--account", "acme", "--name", "old", stdin=text + "\n")
    with site.relay() as relay, contextlib.closing(relay.client(text)) as smtp:
        submit(smtp, letter(1), "r@sink.test")


def test_smtpapi_instructions_reach_mail_and_events(site: Site, sink: Sink) -> None:
    asked = '{"to": ["Ann <ann@sink.test>", "bob@sink.test"], "category": "news", "unique_args": {"order": "7"}}'
    with site.relay() as relay, contextlib.closing(relay.client(site.key)) as smtp:
        submit(smtp, message("a@example.test", f"X-SMTPAPI: {asked}\r\nBcc: secret@sink.test\r\n"), "dummy@sink.test")
        letters = sink.wait_for(2)
        assert sorted(one.recipients for one in letters) == [("ann@sink.test",), ("bob@sink.test",)]
        for one in letters:
            header = one.data.partition(b"\r\n\r\n")[0].lower()
            assert b"x-smtpapi" not in header
            assert b"secret" not in header
            assert b"all@sink.test" not in header
        assert len({one.mail_from for one in letters}) == 2
        code, text = refusal(smtp, message("a@example.test", 'X-SMTPAPI: {"sub": {"-n-": ["x"]}}\r\n'))
        assert code == 550
        assert text.startswith(b"5.6.0")
        assert b"sub" in text
        submit(smtp, message("a@example.test", "X-SMTPAPI: {broken\r\n"), "gone@sink.test")
        eventually(lambda: len(site.events()) >= 5, "five events")
        events = site.events()
    told = {(event["event"], event["email"]): event for event in events}
    assert told["dropped", "gone@sink.test"]["reason"] == "Invalid SMTPAPI header"
    delivered = told["delivered", "ann@sink.test"]
    assert delivered["category"] == "news"
    assert delivered["order"] == "7"
    assert delivered["api_key_id"] == site.seed.key_id
    assert ("processed", "gone@sink.test") not in told


def test_a_compromised_keys_mail_stays_where_it_is(site: Site, sink: Sink) -> None:
    sink.answer = lambda verb, _: "451 4.7.1 Not yet" if verb == "RCPT" else None
    site.delivery = 'retry_first = "1s"\nretry_max = "1s"'
    site.write()
    with site.relay() as relay:
        with contextlib.closing(relay.client(site.key)) as smtp:
            submit(smtp, letter(1), "r@sink.test")
        eventually(lambda: [event for event in site.events() if event["event"] == "deferred"], "a deferral")
        site.run("key", "revoke", site.seed.key_id, "--compromised")
        eventually(lambda: site.queue()[0]["state"] != "queued", "held")
        before = len(site.events())
        sink.answer = lambda _verb, _argument: None
        with pytest.raises(smtplib.SMTPAuthenticationError):
            relay.client(site.key)
        site.run("queue", "drop", "--all")
        assert site.queue() == []
        assert not sink.letters
        assert [event["event"] for event in site.events()[before:]][-1] == "dropped"
