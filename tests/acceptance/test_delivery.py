"""A message from a stock client to the next hop: once, signed, and otherwise unchanged."""

from __future__ import annotations

import contextlib
import ssl

import pytest

from tests.acceptance.judges import dkimpy_verifies, zone
from tests.acceptance.relay import eventually, letter, submit
from tests.acceptance.site import Site
from tests.fakes.sink import Sink


def test_a_message_arrives_once_signed_and_otherwise_unchanged(site: Site, sink: Sink) -> None:
    sent = (
        b"From: Ann <ann@example.test>\r\nTo: reader@sink.test\r\nBcc: hidden@sink.test\r\n"
        b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n"
        b"X-Odd:  two  blanks\t\r\n folded\r\nContent-Type: text/plain\r\n\r\nbody \r\n.dot\r\n..\r\n\r\n\r\n"
    )
    with site.relay() as relay:
        assert set(relay.ready) >= {"ready", "smtp", "http", "data_dir"}
        message_id = relay.send(site.key, sent)
        (arrived,) = sink.wait_for(1)
        header, _, body = arrived.data.partition(b"\r\n\r\n")
        assert body == sent.partition(b"\r\n\r\n")[2]
        assert b"X-Odd:  two  blanks\t\r\n folded\r\n" in header
        names = [line.partition(b":")[0].lower() for line in header.split(b"\r\n") if line[:1] not in b" \t"]
        assert names.count(b"dkim-signature") == 2
        assert names.count(b"date") == names.count(b"message-id") == names.count(b"received") == 1
        assert b"bcc" not in names
        trace = header[header.lower().index(b"received:") :].partition(b"\r\nFrom:")[0]
        assert b"with ESMTPSA" in trace
        assert message_id.encode() in trace
        assert site.seed.key_id.encode() not in header
        # --override made the domain valid without DNS, so the return path is the server's own name.
        assert arrived.mail_from.startswith("bounces+")
        assert arrived.mail_from.endswith("@relay.test")
        records = zone(site.run("domain", "show", "example.test"))
        assert dkimpy_verifies(arrived.data, records) == [True, True]
        kinds = eventually(
            lambda: (
                [e["event"] for e in site.events() if e["message_id"] == message_id][-2:] == ["processed", "delivered"]
            ),
            "processed and delivered",
        )
        assert kinds
        assert relay.stop() == 0
    assert len(sink.letters) == 1


def test_ipv6_is_served_too(site: Site, sink: Sink) -> None:
    site.listeners = '[[smtp.listeners]]\naddress = "[::1]:0"\ntls = "starttls"\n'
    site.write()
    with site.relay() as relay, contextlib.closing(relay.client(site.key, host="::1")) as smtp:
        submit(smtp, letter(1), "reader@sink.test")
        sink.wait_for(1)
        assert relay.ready["smtp"][0]["address"].startswith("[::1]:")


def test_a_smart_host_gets_a_login_over_verified_tls(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(site.seed.certificate.chain, site.seed.certificate.key)
    password = site.folder / "password"
    password.write_text("open sesame\n")
    password.chmod(0o600)
    with Sink(tls=context, users={"us": "open sesame"}) as smart:
        site.routes = (
            f'[[delivery.routes]]\ndomain = "*"\nhost = "localhost"\nport = {smart.port}\n'
            f'tls = "required"\nusername = "us"\npassword_file = "{password}"\n'
        )
        site.delivery = 'retry_first = "1s"\nretry_max = "1s"'
        site.write()
        with site.relay() as relay:
            # Nobody vouches for the certificate: nothing is sent, and the login is not shown to a stranger.
            relay.send(site.key, letter(1))
            eventually(lambda: [row["attempts"] for row in site.queue()] >= [1], "an attempt")
            assert not smart.letters
            assert relay.stop() == 0
            monkeypatch.setenv("SSL_CERT_FILE", str(site.seed.certificate.chain))
            relay.start()
            site.run("queue", "retry", "--all")
            (arrived,) = smart.wait_for(1)
            assert arrived.over_tls
            assert arrived.login == ("us", "open sesame")
            assert not smart.faults
            assert "open sesame" not in relay.log.read_text()
