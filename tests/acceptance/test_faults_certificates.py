"""A certificate that is no good: told at start by key and reason, and never put in place of one that is in force."""

from __future__ import annotations

import contextlib
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.acceptance.certificates import Certificate, make_certificate
from tests.acceptance.relay import Document, Relay, eventually, letter, run, submit
from tests.acceptance.site import Seed, Site
from tests.fakes.sink import Sink

Spoil = Callable[[Certificate], None]


def missing(pair: Certificate) -> None:
    pair.chain.unlink()


def key_missing(pair: Certificate) -> None:
    pair.key.unlink()


def unreadable(pair: Certificate) -> None:
    # For root too.
    pair.key.unlink()
    pair.key.mkdir()


def garbage(pair: Certificate) -> None:
    pair.chain.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def cut_short(pair: Certificate) -> None:
    pair.key.write_bytes(pair.key.read_bytes()[:60])


def mismatched(pair: Certificate) -> None:
    other = make_certificate(pair.chain.parent / "other")
    pair.key.write_bytes(other.key.read_bytes())


def too_weak(pair: Certificate) -> None:
    # Each half is in order and they belong together, but OpenSSL serves nobody with so short a key.
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - that is the point
    replace(pair, make_certificate(pair.chain.parent / "weak", private=short))


def replace(pair: Certificate, by: Certificate) -> None:
    pair.chain.write_bytes(by.chain.read_bytes())
    pair.key.write_bytes(by.key.read_bytes())


FAULTS: list[tuple[Spoil, str, str]] = [
    (missing, "tls.certificate_file", "chain.pem: cannot be read: No such file or directory"),
    (key_missing, "tls.private_key_file", "key.pem: cannot be read: No such file or directory"),
    (unreadable, "tls.private_key_file", "key.pem: cannot be read: Is a directory"),
    (garbage, "tls.certificate_file", "chain.pem: holds no PEM certificate"),
    (cut_short, "tls.private_key_file", "key.pem: holds no PEM private key"),
    (mismatched, "tls.private_key_file", "key.pem: is not the key of"),
    (too_weak, "tls.certificate_file", "chain.pem: the TLS certificate and key cannot be used: EE_KEY_TOO_SMALL"),
]


@pytest.fixture
def pair(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path / "tls", "relay.test")


@pytest.fixture
def site(site: Site, pair: Certificate) -> Site:
    site.seed = Seed(site.seed.data, site.seed.api_key, site.seed.key_id, pair)
    site.server = "workers = 1"
    site.write()
    return site


@pytest.mark.parametrize(("spoil", "key", "reason"), FAULTS)
def test_at_start_the_key_and_the_reason_are_named(
    site: Site, pair: Certificate, spoil: Spoil, key: str, reason: str
) -> None:
    spoil(pair)
    done = run("serve", "--config", site.config, status=2)
    # Logs are JSON; what is for whoever started it is a line of text, the last one.
    said = done.stderr.strip().splitlines()[-1]
    assert key in said
    assert reason in said
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def shown(relay: Relay) -> bytes:
    """The certificate that a new connection is shown."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    address = ("127.0.0.1", relay.port("implicit"))
    with socket.create_connection(address, 30) as plain, context.wrap_socket(plain) as secure:
        return secure.getpeercert(binary_form=True) or b""


def lines(relay: Relay, event: str) -> list[Document]:
    return [line for line in relay.log_lines() if line["event"] == event]


def reload(relay: Relay) -> None:
    """Have it read again, and wait until the supervisor has."""
    before = len(lines(relay, "config.reloaded"))
    relay.send_signal(signal.SIGHUP)
    eventually(lambda: len(lines(relay, "config.reloaded")) > before, "the reload")


def test_at_a_reload_the_old_one_stays_in_force_and_connections_go_on(
    site: Site, sink: Sink, pair: Certificate, tmp_path: Path
) -> None:
    chain, private = pair.chain.read_bytes(), pair.key.read_bytes()
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(chain)
    relay = Relay("serve", "--config", site.config, logs=site.folder / "logs", ca_file=trusted)
    with relay, contextlib.closing(relay.client(site.key)) as session:
        old, workers = shown(relay), relay.workers
        for number, (spoil, key, reason) in enumerate(FAULTS):
            spoil(pair)
            reload(relay)
            refused = lines(relay, "certificate.refused")
            assert len(refused) == number + 1
            assert (refused[-1]["level"], refused[-1]["key"]) == ("error", key)
            assert reason in refused[-1]["reason"]
            submit(session, letter(2 * number), "reader@sink.test")
            relay.send(site.key, letter(2 * number + 1))
            assert shown(relay) == old
            if pair.key.is_dir():
                pair.key.rmdir()
            pair.chain.write_bytes(chain)
            pair.key.write_bytes(private)
        # Once it is mended, the next reload takes it.
        replace(pair, make_certificate(tmp_path / "renewed", "relay.test"))
        reload(relay)
        eventually(lambda: shown(relay) != old, "the renewed certificate")
        submit(session, letter(99), "reader@sink.test")
        sink.wait_for(2 * len(FAULTS) + 1)
        assert relay.workers == workers
        assert relay.stop() == 0


def test_an_expired_one_serves_with_a_warning_but_replaces_none_that_is_good(
    site: Site, sink: Sink, pair: Certificate, tmp_path: Path
) -> None:
    expired = make_certificate(tmp_path / "expired", "relay.test", days=-1)
    good = make_certificate(tmp_path / "good", "relay.test")
    replace(pair, expired)
    with site.relay() as relay:
        old = shown(relay)
        doubts = [line["reason"] for line in lines(relay, "certificate.doubtful")]
        assert any(doubt.startswith("the certificate expired ") for doubt in doubts)

        # It is no worse than what is there.
        replace(pair, make_certificate(tmp_path / "expired too", "relay.test", days=-2))
        reload(relay)
        eventually(lambda: shown(relay) != old, "the other expired certificate")
        assert not lines(relay, "certificate.refused")

        # The client trusts what is in the file.
        replace(pair, good)
        reload(relay)
        fresh = ssl.PEM_cert_to_DER_cert(good.chain.read_text())
        eventually(lambda: shown(relay) == fresh, "the good certificate")
        with contextlib.closing(relay.client(site.key)) as smtp:
            replace(pair, expired)
            reload(relay)
            (refused,) = lines(relay, "certificate.refused")
            assert (refused["level"], refused["key"]) == ("error", "tls.certificate_file")
            assert "has expired" in refused["reason"]
            assert shown(relay) == fresh
            submit(smtp, letter(1), "reader@sink.test")
        sink.wait_for(1)
        assert relay.stop() == 0
