from __future__ import annotations

import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sekisho.doors.smtp.tls import server_context
from sekisho.service.certificates import (
    Certificate,
    CertificateProblem,
    Fault,
    keep_self_signed,
    load,
    make_self_signed,
)

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
NAMES = ("localhost", "127.0.0.1", "::1")


def write(folder: Path, chain: bytes, key: bytes) -> tuple[Path, Path]:
    (folder / "c.pem").write_bytes(chain)
    (folder / "k.pem").write_bytes(key)
    return folder / "c.pem", folder / "k.pem"


def kept(folder: Path, names: tuple[str, ...] = NAMES, now_ms: int = NOW_MS) -> Certificate:
    found = keep_self_signed(folder / "tls.crt", folder / "tls.key", names, now_ms)
    assert isinstance(found, Certificate)
    return found


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """TLS over memory, both sides to the end; the version agreed on. Raises what the client holds against it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    mine = client.wrap_bio(to_client, to_server, server_hostname=name)
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    pending = [mine, theirs]
    for _ in range(10):
        for side in list(pending):
            try:
                side.do_handshake()
                pending.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not pending
    return mine.version()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("flags", [0, ssl.VERIFY_X509_STRICT, ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN])
def test_a_stock_client_that_is_told_the_file_believes_every_name(tmp_path: Path, name: str, flags: int) -> None:
    made = kept(tmp_path, now_ms=int(dt.datetime.now(dt.UTC).timestamp() * 1000))
    client = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
    client.verify_flags |= ssl.VerifyFlags(flags)
    assert handshake(server_context(made.chain_pem, made.key_pem), client, name) == "TLSv1.3"


def test_other_names_are_not_believed(tmp_path: Path) -> None:
    made = kept(tmp_path, now_ms=int(dt.datetime.now(dt.UTC).timestamp() * 1000))
    client = ssl.create_default_context(cafile=str(tmp_path / "tls.crt"))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(server_context(made.chain_pem, made.key_pem), client, "relay.example")


def test_it_is_no_authority_over_other_certificates(tmp_path: Path) -> None:
    kept(tmp_path)
    (leaf,) = x509.load_pem_x509_certificates((tmp_path / "tls.crt").read_bytes())
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert isinstance(leaf.public_key(), ec.EllipticCurvePublicKey)


def test_the_same_one_is_kept_and_its_key_is_closed_to_others(tmp_path: Path) -> None:
    first = kept(tmp_path)
    assert kept(tmp_path, now_ms=NOW_MS + 365 * DAY_MS).chain_pem == first.chain_pem
    assert (tmp_path / "tls.key").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in repr(first)


@pytest.mark.parametrize(
    ("names", "now_ms"),
    [
        (("other.example",), NOW_MS),
        (("localhost",), NOW_MS),
        (NAMES, NOW_MS + 3640 * DAY_MS),
        (NAMES, NOW_MS + 4000 * DAY_MS),
        (NAMES, NOW_MS - 3 * DAY_MS),
    ],
)
def test_a_new_one_is_made_for_other_names_and_near_its_end(
    tmp_path: Path, names: tuple[str, ...], now_ms: int
) -> None:
    first = kept(tmp_path)
    second = kept(tmp_path, names, now_ms)
    assert second.chain_pem != first.chain_pem
    assert set(second.names) == set(names)


@pytest.mark.parametrize("broken", ["tls.crt", "tls.key"])
@pytest.mark.parametrize("content", [None, b"", b"nonsense"])
def test_a_new_one_is_made_when_half_of_it_is_lost(tmp_path: Path, broken: str, content: bytes | None) -> None:
    first = kept(tmp_path)
    if content is None:
        (tmp_path / broken).unlink()
    else:
        (tmp_path / broken).write_bytes(content)
    assert kept(tmp_path).chain_pem != first.chain_pem


def test_where_it_cannot_be_written_is_told(tmp_path: Path) -> None:
    found = keep_self_signed(tmp_path / "no" / "tls.crt", tmp_path / "no" / "tls.key", NAMES, NOW_MS)
    assert isinstance(found, CertificateProblem)
    assert "cannot be written" in found.reason


def test_what_is_wrong_with_a_pair_is_told_by_file(tmp_path: Path) -> None:
    chain, key = make_self_signed(NAMES, NOW_MS)
    other_chain, other_key = make_self_signed(("other",), NOW_MS)
    cases = [
        (b"", key.reveal(), Fault.MALFORMED, "c.pem: holds no PEM certificate"),
        (chain, b"", Fault.MALFORMED, "k.pem: holds no PEM private key"),
        (chain, chain, Fault.MALFORMED, "k.pem: holds no PEM private key"),
        (chain, other_key.reveal(), Fault.MISMATCH, "k.pem: is not the key of"),
        (chain + other_chain, key.reveal(), Fault.MISMATCH, "not in order"),
    ]
    for certificate, private, fault, words in cases:
        found = load(*write(tmp_path, certificate, private))
        assert isinstance(found, CertificateProblem)
        assert found.fault is fault
        assert found.reason.startswith(f"{found.file}: ")
        assert words in found.reason
        assert "\n" not in found.reason


def test_a_key_with_a_password_is_refused(tmp_path: Path) -> None:
    chain, key = make_self_signed(NAMES, NOW_MS)
    private = serialization.load_pem_private_key(key.reveal(), None)
    locked = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"word"),
    )
    found = load(*write(tmp_path, chain, locked))
    assert isinstance(found, CertificateProblem)
    assert "without password" in found.reason


def test_it_expires_with_its_last_moment() -> None:
    certificate = issued(("relay.example.net",))
    assert not certificate.expired(certificate.not_after_ms - 1)
    assert certificate.expired(certificate.not_after_ms)


def test_missing_files_are_named(tmp_path: Path) -> None:
    found = load(tmp_path / "nope.pem", tmp_path / "k.pem")
    assert isinstance(found, CertificateProblem)
    assert (found.fault, "nope.pem" in found.reason) == (Fault.UNREADABLE, True)


def issued(names: tuple[str, ...]) -> Certificate:
    """A certificate of somebody else's."""
    return Certificate(b"", make_self_signed(("x",), NOW_MS)[1], names, NOW_MS, NOW_MS + 90 * DAY_MS, self_signed=False)


@pytest.mark.parametrize(
    ("names", "asked", "covered"),
    [
        (("relay.example",), "relay.example", True),
        (("relay.example",), "Relay.Example", True),
        (("relay.example",), "other.example", False),
        (("*.example",), "relay.example", True),
        (("*.example",), "a.relay.example", False),
        (("*.example",), ".example", False),
        (("*.example",), "example", False),
        (("192.0.2.1",), "192.0.2.1", True),
        ((), "relay.example", False),
    ],
)
def test_names_are_covered_as_clients_see_it(names: tuple[str, ...], asked: str, covered: bool) -> None:
    assert issued(names).covers(asked) is covered


@pytest.mark.parametrize(
    ("after_days", "words"),
    [(0, []), (75, []), (77, ["expires"]), (91, ["expired"]), (-1, ["not valid before"])],
)
def test_doubts_come_in_time(after_days: int, words: list[str]) -> None:
    doubts = issued(("relay.example",)).doubts("relay.example", NOW_MS + after_days * DAY_MS)
    assert len(doubts) == len(words)
    assert all(word in doubt for word, doubt in zip(words, doubts, strict=True))


def test_a_self_signed_one_for_another_name_is_doubted_twice(tmp_path: Path) -> None:
    doubts = kept(tmp_path).doubts("relay.example", NOW_MS)
    assert ["cover" in doubts[0], "self-signed" in doubts[1]] == [True, True]


def test_a_certificate_without_names_covers_nothing(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay.example")])
    now = dt.datetime.fromtimestamp(NOW_MS / 1000, dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    leaf = (
        builder.serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    found = load(*write(tmp_path, leaf.public_bytes(pem), private))
    assert isinstance(found, Certificate)
    assert found.names == ()
