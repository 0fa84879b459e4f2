"""``sekisho serve``: a message from a stock client to the next hop, and what an operator does while it runs."""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import socket
import ssl
import threading
from pathlib import Path

import pytest

from tests.acceptance.certificates import Certificate, make_certificate
from tests.acceptance.judges import dkimpy_verifies, zone
from tests.acceptance.relay import Relay, eventually, letter, run, submit
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
                [e["event"] for e in events(site) if e["message_id"] == message_id][-2:] == ["processed", "delivered"]
            ),
            "processed and delivered",
        )
        assert kinds
        assert relay.stop() == 0
    assert len(sink.letters) == 1


def events(site: Site) -> list[dict[str, str]]:
    found: list[dict[str, str]] = site.run("events", "tail")["events"]
    return found


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
        (row,) = site.run("queue", "list")["queue"]
        assert row["held"]
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


def waiting(site: Site, relay: Relay, sink: Sink, count: int) -> list[str]:
    """Queue that many messages that the next hop does not take yet; return their ids."""
    sink.answer = lambda verb, _: "451 4.7.1 Not yet" if verb == "RCPT" else None
    with contextlib.closing(relay.client(site.key)) as smtp:
        ids = [submit(smtp, letter(number), "reader@sink.test") for number in range(count)]
    eventually(lambda: [row["attempts"] for row in site.run("queue", "list")["queue"]] == [1] * count, "first attempts")
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
        eventually(lambda: len(site.run("queue", "list")["queue"]) == 1, "one left")
        site.run("queue", "release", second)
        site.run("queue", "retry", second)
        assert [found.sequence for found in sink.wait_for(2)] == [0, 1]
        eventually(lambda: not site.run("queue", "list")["queue"], "none left")
        ended = {
            event["message_id"]: event["event"] for event in events(site) if event["event"] in {"dropped", "delivered"}
        }
        eventually(lambda: ended, "events")
        assert relay.stop() == 0


def test_the_queue_obeys_while_the_server_is_stopped(site: Site, sink: Sink) -> None:
    with site.relay() as relay:
        first, second, third = waiting(site, relay, sink, 3)
        assert relay.stop() == 0
        assert {row["message_id"] for row in site.run("queue", "list")["queue"]} == {first, second, third}
        site.run("queue", "hold", second)
        site.run("queue", "drop", third)
        site.run("queue", "retry", "--all")
        sink.answer = lambda _verb, _argument: None
        relay.start()
        assert [found.sequence for found in sink.wait_for(1)] == [0]
        assert relay.stop() == 0
        (left,) = site.run("queue", "list")["queue"]
        assert (left["message_id"], left["held"]) == (second, True)
    assert len(sink.letters) == 1


def peer_certificate(relay: Relay) -> bytes:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = ("127.0.0.1", relay.port("implicit"))
    with socket.create_connection(address, 30) as plain, context.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True) or b""


def test_sighup_brings_a_new_certificate_and_drops_nobody(site: Site, sink: Sink, tmp_path: Path) -> None:
    mine = site.seed.certificate
    renewed = make_certificate(tmp_path / "tls")
    chain, key = renewed.chain.read_bytes(), renewed.key.read_bytes()
    renewed.chain.write_bytes(mine.chain.read_bytes())
    renewed.key.write_bytes(mine.key.read_bytes())
    site.seed = type(site.seed)(
        site.seed.data, site.seed.api_key, site.seed.key_id, Certificate(renewed.chain, renewed.key)
    )
    site.write()
    with site.relay() as relay, contextlib.closing(relay.client(site.key)) as open_session:
        old = peer_certificate(relay)
        renewed.chain.write_bytes(chain)
        renewed.key.write_bytes(key)
        site.smtp = 'max_message_size = "64KiB"'
        site.write()
        relay.send_signal(signal.SIGHUP)
        eventually(lambda: peer_certificate(relay) != old, "the new certificate")
        submit(open_session, letter(1), "reader@sink.test")
        sink.wait_for(1)
        with contextlib.closing(relay.client(site.key)) as smtp:
            smtp.ehlo()
            assert smtp.esmtp_features["size"] == str(64 * 1024)
        assert relay.stop() == 0


def test_a_bad_configuration_at_sighup_changes_nothing(site: Site, sink: Sink) -> None:
    with site.relay() as relay:
        site.config.write_text(site.config.read_text() + "\n[nonsense]\nkey = 1\n")
        relay.send_signal(signal.SIGHUP)
        eventually(lambda: "nonsense" in relay.log.read_text(), "a complaint in the log")
        relay.send(site.key, letter(1))
        sink.wait_for(1)
        assert relay.running


def test_sigterm_under_load_finishes_what_is_open_and_loses_nothing(site: Site, sink: Sink) -> None:
    promised: set[int] = set()
    with site.relay() as relay:

        def client(start: int) -> None:
            with (
                contextlib.suppress(OSError, smtplib.SMTPException),
                contextlib.closing(relay.client(site.key)) as smtp,
            ):
                for number in range(start, start + 1000):
                    submit(smtp, letter(number), "reader@sink.test")
                    promised.add(number)

        threads = [threading.Thread(target=client, args=(1000 * n,)) for n in range(3)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(promised) > 20, "letters under way")
        assert relay.stop() == 0
        for thread in threads:
            thread.join(60)
        assert 20 < len(promised) < 3000
        relay.start()
        eventually(lambda: not site.run("queue", "list")["queue"], "an empty queue")
        assert relay.stop() == 0
    copies = sink.copies()
    assert {number for number, _ in copies} >= promised
    assert set(copies.values()) == {1}


def test_a_killed_worker_is_started_again(site: Site, sink: Sink) -> None:
    with site.relay() as relay:
        before = relay.workers
        for pid in before:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(relay.workers) == len(before) and not set(relay.workers) & set(before), "new workers")

        def sends() -> bool:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                relay.send(site.key, letter(1))
                return True
            return False

        eventually(sends, "service again")
        sink.wait_for(1)
        assert relay.stop() == 0


def test_workers_do_not_outlive_their_supervisor(site: Site) -> None:
    with site.relay() as relay:
        relay.send_signal(signal.SIGKILL)
        relay.wait()


def test_a_second_server_on_the_same_data_is_refused(site: Site) -> None:
    with site.relay() as relay:
        done = run("serve", "--config", site.config, status=1)
        assert str(site.data) in done.stderr or "data" in done.stderr
        assert relay.running


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
            eventually(lambda: [row["attempts"] for row in site.run("queue", "list")["queue"]] >= [1], "an attempt")
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


def test_without_a_route_a_recipient_is_refused_for_now(site: Site) -> None:
    site.routes = '[[delivery.routes]]\ndomain = "only.test"\nhost = "127.0.0.1"\nport = 1\ntls = "off"\n'
    site.write()
    with site.relay() as relay, contextlib.closing(relay.client(site.key)) as smtp:
        smtp.mail("ann@example.test")
        code, text = smtp.rcpt("reader@elsewhere.test")
        assert (code, text[:5]) == (451, b"4.4.4")


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        ('[webhooks]\nretry_first = "30s"', "webhooks"),
        ('[dns.authoritative]\nzone = "wl.relay.test"', "dns.authoritative"),
        ('[metrics]\naddress = "127.0.0.1:9464"', "metrics"),
        ('[storage]\nurl = "postgresql://sekisho@localhost/sekisho"', "storage.url"),
        ('[[smtp.listeners]]\naddress = "127.0.0.1:0"\ntls = "starttls"\naccept = ["inbound"]', "accept"),
        ("[nonsense]\nkey = 1", "nonsense"),
    ],
)
def test_what_this_version_cannot_do_is_refused_by_name(site: Site, tables: str, named: str) -> None:
    site.tables = tables
    site.write()
    done = run("serve", "--config", site.config, status=2)
    assert named in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "command", [("audit", "verify"), ("backup", "x"), ("restore", "x"), ("user", "reset-2fa", "a@b.test")]
)
def test_commands_of_later_versions_are_refused_by_name(site: Site, command: tuple[str, ...]) -> None:
    done = run(*command, "--config", site.config, status=2)
    assert command[0] in done.stderr
