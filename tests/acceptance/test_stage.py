"""The stage itself: a judge that cannot say no is no judge."""

from __future__ import annotations

import smtplib
import socket
import ssl
from pathlib import Path

import pytest

from tests.acceptance.certificates import make_certificate
from tests.acceptance.relay import letter, submit
from tests.fakes.sink import Sink


def test_the_sink_keeps_what_it_took_and_counts_copies() -> None:
    with Sink() as sink, smtplib.SMTP("127.0.0.1", sink.port, timeout=30) as smtp:
        smtp.ehlo()
        for number in (1, 2, 2):
            submit(smtp, letter(number), "reader@sink.test")
        assert [arrived.sequence for arrived in sink.wait_for(3)] == [1, 2, 2]
        assert sink.copies() == {(1, "reader@sink.test"): 1, (2, "reader@sink.test"): 2}
        assert sink.letters[0].data == letter(1)
        assert sink.faults == []


@pytest.mark.parametrize(
    "said",
    [
        b"EHLO a\n",
        b"EHLO a\r\nMAIL FROM: <a@b.test>\r\n",
        b"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:c@d.test\r\n",
        b"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\nbare\n.\r\n",
        b"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\na\rb\r\n.\r\n",
        b"EHLO a\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n" + b"x" * 1000 + b"\r\n.\r\n",
        b"NONSENSE\r\n",
    ],
)
def test_the_sink_notes_every_breach(said: bytes) -> None:
    with Sink() as sink:
        with socket.create_connection(("127.0.0.1", sink.port), 30) as connection:
            connection.sendall(said + b"QUIT\r\n")
            while connection.recv(4096):
                pass
        assert len(sink.faults) == 1, sink.faults


def test_the_sink_says_what_it_is_told_to() -> None:
    with Sink(answer=lambda verb, _: "451 4.7.1 Later" if verb == "RCPT" else None) as sink:
        with smtplib.SMTP("127.0.0.1", sink.port, timeout=30) as smtp, pytest.raises(smtplib.SMTPRecipientsRefused):
            submit(smtp, letter(1), "reader@sink.test")
        assert sink.letters == []


def test_the_sink_speaks_tls_and_asks_for_a_login(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate.chain, certificate.key)
    with Sink(tls=context, users={"us": "open sesame"}) as sink:
        with smtplib.SMTP("localhost", sink.port, timeout=30) as smtp:
            smtp.starttls(context=ssl.create_default_context(cafile=str(certificate.chain)))
            smtp.ehlo()
            with pytest.raises(smtplib.SMTPSenderRefused):
                submit(smtp, letter(1), "reader@sink.test")
            smtp.login("us", "open sesame")
            submit(smtp, letter(2), "reader@sink.test")
        (arrived,) = sink.letters
        assert arrived.over_tls
        assert arrived.login == ("us", "open sesame")
