"""This server's certificate: the operator's, read and checked, or a self-signed one that is made and kept.

The self-signed certificate is no CA: a client that trusts it (as its ``ca_file``) trusts this server and nothing else.
"""

from __future__ import annotations

import datetime as dt
import enum
import ipaddress
import itertools
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sekisho.doors.smtp.tls import CertificateError, server_context
from sekisho.ports.clock import DAY_MS
from sekisho.secret import Secret

_FILE_MAX_BYTES: Final = 1 << 20
# Clients pin a self-signed certificate, so a new one is a change at every client: as rarely as can be.
_SELF_SIGNED_DAYS: Final = 3650
_RENEW_BEFORE_MS: Final = 30 * DAY_MS
# A client whose clock is behind accepts it too.
_BACKDATED_DAYS: Final = 2
_COMMON_NAME_MAX: Final = 64  # RFC 5280, ub-common-name-length


class Fault(enum.StrEnum):
    """Why a pair of files is no certificate for us."""

    UNREADABLE = "unreadable"
    MALFORMED = "malformed"
    MISMATCH = "mismatch"
    UNFIT = "unfit"


@dataclass(frozen=True, slots=True)
class CertificateProblem:
    """The files cannot be used; ``reason`` is one line that names the file."""

    fault: Fault
    file: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Certificate:
    """A chain with its key, proved to belong together."""

    chain_pem: bytes
    key_pem: Secret[bytes]
    names: tuple[str, ...]
    """DNS names and IP addresses of the leaf."""
    not_before_ms: int
    not_after_ms: int
    self_signed: bool

    def covers(self, name: str) -> bool:
        """Whether a client that connects to ``name`` finds it here (one whole left label may be a star, RFC 6125)."""
        wanted = name.lower()
        return any(_matches(wanted, offered) for offered in self.names)

    def expired(self, now_ms: int) -> bool:
        """Whether no client would believe it any more."""
        return now_ms >= self.not_after_ms

    def doubts(self, hostname: str, now_ms: int) -> tuple[str, ...]:
        """What a client would hold against it: sentences for ``check`` and the log, worst first."""
        found = []
        if self.expired(now_ms):
            found.append(f"the certificate expired {_date(self.not_after_ms)}")
        elif now_ms < self.not_before_ms:
            found.append(f"the certificate is not valid before {_date(self.not_before_ms)}")
        elif now_ms >= self.not_after_ms - 14 * DAY_MS:
            found.append(f"the certificate expires {_date(self.not_after_ms)}")
        if not self.covers(hostname):
            found.append(f"the certificate does not cover {hostname} (it names {', '.join(self.names) or 'nothing'})")
        if self.self_signed:
            found.append("the certificate is self-signed: clients must be told to trust it")
        return tuple(found)


def load(certificate_file: Path, private_key_file: Path) -> Certificate | CertificateProblem:
    """Read a PEM chain (leaf first) and its key; what is wrong with them otherwise."""
    try:
        chain_pem, key_pem = _read(certificate_file), Secret(_read(private_key_file))
    except OSError as error:
        return _unusable(Fault.UNREADABLE, Path(error.filename), f"cannot be read: {error.strerror}")
    try:
        chain = x509.load_pem_x509_certificates(chain_pem)
        leaf, names = chain[0], _names_of(chain[0])
    except ValueError:
        return _unusable(Fault.MALFORMED, certificate_file, "holds no PEM certificate")
    try:
        key = serialization.load_pem_private_key(key_pem.reveal(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # The library's words could quote the file.
        return _unusable(Fault.MALFORMED, private_key_file, "holds no PEM private key without password")
    public = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(*public) != leaf.public_key().public_bytes(*public):
        return _unusable(Fault.MISMATCH, private_key_file, f"is not the key of {certificate_file}")
    for lower, upper in itertools.pairwise(chain):
        if lower.issuer != upper.subject:
            reason = "the chain is not in order, each certificate must be followed by its issuer's"
            return _unusable(Fault.MISMATCH, certificate_file, reason)
    try:
        # What the workers will do with it: a key too short for TLS is a key all the same to the readers above.
        server_context(chain_pem, key_pem)
    except CertificateError as error:
        return _unusable(Fault.UNFIT, certificate_file, str(error))
    return Certificate(
        chain_pem=chain_pem,
        key_pem=key_pem,
        names=names,
        not_before_ms=_ms(leaf.not_valid_before_utc),
        not_after_ms=_ms(leaf.not_valid_after_utc),
        self_signed=leaf.issuer == leaf.subject,
    )


def keep_self_signed(
    certificate_file: Path, private_key_file: Path, names: Collection[str], now_ms: int
) -> Certificate | CertificateProblem:
    """Give the self-signed certificate for ``names`` that the files hold, made anew when it is not good for them.

    The files belong to whoever runs this: call it as the owner of the data directory.
    """
    found = load(certificate_file, private_key_file)
    if isinstance(found, Certificate) and _is_good(found, names, now_ms):
        return found
    chain_pem, key_pem = make_self_signed(names, now_ms)
    try:
        # The key first: a crash between the two leaves a pair that does not match, and the next start makes a new one.
        _replace(private_key_file, key_pem.reveal(), 0o600)
        _replace(certificate_file, chain_pem, 0o644)
    except OSError as error:
        return _unusable(Fault.UNREADABLE, Path(error.filename), f"cannot be written: {error.strerror}")
    return load(certificate_file, private_key_file)


def make_self_signed(names: Collection[str], now_ms: int) -> tuple[bytes, Secret[bytes]]:
    """Make an ECDSA P-256 key and a certificate for ``names`` (host names and IP addresses): chain and key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC)
    common_name = next(iter(names))[:_COMMON_NAME_MAX]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    key_id = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "crl_sign"), False
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=_BACKDATED_DAYS))
        .not_valid_after(now + dt.timedelta(days=_SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=True, key_cert_sign=False, encipher_only=False, decipher_only=False, **usage
            ),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        # Both key identifiers: Python 3.13 and later verify with VERIFY_X509_STRICT.
        .add_extension(key_id, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(key_id), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM), Secret(key_pem)


def _unusable(fault: Fault, file: Path, why: str) -> CertificateProblem:
    return CertificateProblem(fault, file, f"{file}: {why}")


def _is_good(found: Certificate, names: Collection[str], now_ms: int) -> bool:
    in_time = found.not_before_ms <= now_ms < found.not_after_ms - _RENEW_BEFORE_MS
    return in_time and set(found.names) == set(names)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts = (name.lower() for name in names.get_values_for_type(x509.DNSName))
    return (*hosts, *(str(address) for address in names.get_values_for_type(x509.IPAddress)))


def _matches(wanted: str, offered: str) -> bool:
    if not offered.startswith("*."):
        return wanted == offered
    label, dot, rest = wanted.partition(".")
    return bool(label and dot) and rest == offered[2:]


def _read(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(_FILE_MAX_BYTES)


def _replace(file: Path, content: bytes, mode: int) -> None:
    """Write all or nothing, readable by the right people from the first moment."""
    fresh = file.with_name(f"{file.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(file)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def _date(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
