from __future__ import annotations

import socket
import ssl
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from sekisho.doors.smtp.tls import CertificateError, server_context
from sekisho.secret import Secret
from tests.acceptance.certificates import Certificate, make_certificate


def context_of(made: Certificate, minimum: str = "1.2") -> ssl.SSLContext:
    return server_context(made.chain.read_bytes(), Secret(made.key.read_bytes()), minimum)


def shake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[str, str]:
    """Handshake over a socket pair; give version and cipher."""
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(ours, server_side=True).close()
        except OSError:
            ours.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(theirs, server_hostname="localhost") as secured:
            cipher = secured.cipher()
            assert cipher is not None
            return secured.version() or "", cipher[0]
    finally:
        theirs.close()
        thread.join()


def client_of(made: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(made.chain))


def test_new_clients_get_tls_1_3(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    assert shake(context_of(made), client_of(made))[0] == "TLSv1.3"


def test_tls_1_2_is_forward_secret_and_authenticated(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    client = client_of(made)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    version, cipher = shake(context_of(made), client)
    assert version == "TLSv1.2"
    assert cipher.startswith("ECDHE-")
    assert "GCM" in cipher or "CHACHA20" in cipher


@pytest.mark.parametrize("ciphers", ["ECDHE+AES:!AESGCM:!AESCCM", "kRSA", "DHE"])
def test_weaker_suites_are_refused(ciphers: str, tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    client = client_of(made)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers(ciphers)
    with pytest.raises(ssl.SSLError):
        shake(context_of(made), client)


def test_the_floor_can_be_raised(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    client = client_of(made)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(context_of(made, "1.3"), client)


def test_every_offered_suite_is_of_the_two_kinds(tmp_path: Path) -> None:
    for suite in context_of(make_certificate(tmp_path)).get_ciphers():
        assert suite["aead"]
        assert suite["name"].startswith(("TLS_", "ECDHE-"))


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    one, other = make_certificate(tmp_path / "a"), make_certificate(tmp_path / "b")
    chain, key = one.chain.read_bytes(), one.key.read_bytes()
    with pytest.raises(CertificateError):
        server_context(chain, Secret(other.key.read_bytes()))
    with pytest.raises(CertificateError):
        server_context(b"nonsense", Secret(key))
    with pytest.raises(CertificateError):
        server_context(chain, Secret(b""))
    encrypted = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(CertificateError):
        server_context(chain, Secret(encrypted))
