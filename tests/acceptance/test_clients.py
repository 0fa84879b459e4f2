"""Stock clients as people use them: what they hand in over TLS, logged in, is what arrives, octet for octet."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest

from tests.acceptance.judges import program
from tests.acceptance.postfix import Postfix
from tests.acceptance.recipes import changed, recipe
from tests.acceptance.relay import PATIENCE_S, Relay, environment, eventually
from tests.acceptance.site import Site
from tests.fakes.sink import Letter, Sink

TLS = pytest.mark.parametrize("tls", ["starttls", "implicit"])


def compose() -> bytes:
    """What real mail has: words in many scripts in the subject and the text, a file, dots, trailing blanks."""
    message = EmailMessage(policy=SMTP)
    message["From"] = "Ann Ängström <ann@example.test>"
    message["To"] = "reader@example.org"
    message["Subject"] = "Grüße aus Köln – 関所からのお知らせ ✉"
    message["Date"] = "Tue, 24 Nov 2026 08:00:00 +0000"
    message["Message-ID"] = "<1@example.test>"
    message.set_content("Schöne Grüße!\n.\n..\n. dot\ntrailing  \n\nПривет, 世界\n", cte="8bit")
    message.add_attachment(
        bytes(range(256)) * 40, maintype="application", subtype="octet-stream", filename="Rechnung №1.bin"
    )
    return message.as_bytes()


SENT = compose()


def names(header: bytes) -> Counter[bytes]:
    lines = header.split(b"\r\n")
    return Counter(line.partition(b":")[0].lower() for line in lines if line[:1] not in (b"", b" ", b"\t"))


def arrived_whole(arrived: Letter, *, hops: int = 1) -> None:
    """Exactly what was sent, behind two signatures and the trace."""
    assert arrived.data.endswith(SENT), arrived.data
    assert names(arrived.data.removesuffix(SENT)) == {b"dkim-signature": 2, b"received": hops}
    assert b"with ESMTPSA" in arrived.data


@pytest.fixture
def relay(site: Site) -> Iterator[Relay]:
    with site.relay() as relay:
        yield relay
        assert relay.stop() == 0


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """Where a client is started: a home with the message in it and nothing else."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / "message.eml").write_bytes(SENT)
    return folder


def shell(command: str, desk: Path, site: Site, **variables: str) -> None:
    """Type it."""
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=desk,
        env=environment() | {"HOME": str(desk), "KEY": site.key} | variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@TLS
def test_smtplib(site: Site, sink: Sink, relay: Relay, desk: Path, tls: str) -> None:
    block = recipe("Python", port=relay.port(tls))
    if tls == "implicit":
        block = changed(block, "smtplib.SMTP(", "smtplib.SMTP_SSL(")
        block = changed(block, "smtp.starttls(context=ssl.create_default_context())", "pass")
    (desk / "client.py").write_text(
        "import email, email.policy, os, smtplib, ssl\n"
        'KEY = os.environ["KEY"]\n'
        'with open("message.eml", "rb") as file:\n'
        "    message = email.message_from_binary_file(file, policy=email.policy.SMTP)\n" + block
    )
    shell("exec python3 client.py", desk, site, SSL_CERT_FILE=str(site.seed.certificate.chain))
    arrived_whole(*sink.wait_for(1))


@TLS
def test_swaks(site: Site, sink: Sink, relay: Relay, desk: Path, tls: str) -> None:
    program("swaks")
    command = recipe("swaks", port=relay.port(tls)).rstrip()
    if tls == "implicit":
        command = changed(command, "--tls ", "--tls-on-connect ")
    (desk / "message.eml").write_bytes(SENT.removesuffix(b"\r\n"))  # it ends the last line itself, and in any case
    shell(f"{command} --tls-ca-path {site.seed.certificate.chain}", desk, site)
    arrived_whole(*sink.wait_for(1))


@TLS
def test_curl(site: Site, sink: Sink, relay: Relay, desk: Path, tls: str) -> None:
    program("curl")
    command = recipe("curl", port=relay.port(tls))
    if tls == "implicit":
        command = changed(command, "smtp://", "smtps://")
    shell(command, desk, site, CURL_CA_BUNDLE=str(site.seed.certificate.chain))
    arrived_whole(*sink.wait_for(1))


@TLS
def test_msmtp(site: Site, sink: Sink, relay: Relay, desk: Path, tls: str) -> None:
    program("msmtp")
    settings = recipe("msmtp", port=relay.port(tls))
    if tls == "implicit":
        settings = changed(settings, "tls_starttls on", "tls_starttls off")
    (desk / ".msmtprc").write_text(f"{settings}tls_trust_file {site.seed.certificate.chain}\n")
    shell(recipe("msmtp", port=0, part=1), desk, site)
    arrived_whole(*sink.wait_for(1))


@pytest.mark.skipif(os.geteuid() != 0, reason="Postfix is started as root only")
@TLS
def test_postfix_with_one_message_in_several_transactions(site: Site, sink: Sink, relay: Relay, tls: str) -> None:
    program("postfix")
    port = relay.port(tls)
    settings = recipe("Postfix", port=port) + "smtp_destination_recipient_limit = 5\n"
    if tls == "implicit":
        settings += "smtp_tls_wrappermode = yes\n"
    passwords = recipe("Postfix", port=port, part=1).replace("$KEY", site.key)
    readers = [f"reader{number}@example.org" for number in range(12)]
    with Postfix(settings, passwords, site.seed.certificate.chain) as client:
        client.sendmail(SENT, *readers)
        eventually(lambda: client.log.count("status=sent") >= len(readers), lambda: client.log)
        letters = sink.wait_for(len(readers))
    # Each reader once, in messages of ours that hold five readers at most: that was Postfix's splitting.
    assert sorted(reader for letter in letters for reader in letter.recipients) == sorted(readers)
    for arrived in letters:
        arrived_whole(arrived, hops=2)

    def delivered() -> list[str]:
        return [event["message_id"] for event in site.events() if event["event"] == "delivered"]

    eventually(lambda: len(delivered()) == len(readers), "the events")
    assert sorted(Counter(delivered()).values()) == [2, 5, 5]
