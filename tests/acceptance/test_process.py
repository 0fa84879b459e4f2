"""The processes: signals, drain, reload, restart, and one server per data directory."""

from __future__ import annotations

import contextlib
import os
import signal
import smtplib
import socket
import ssl
import threading
from pathlib import Path

from tests.acceptance.certificates import Certificate, make_certificate
from tests.acceptance.relay import Relay, eventually, letter, run, submit
from tests.acceptance.site import Site
from tests.fakes.sink import Sink


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
        eventually(lambda: not site.queue(), "an empty queue")
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
