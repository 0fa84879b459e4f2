"""DKIM keys: make, store, publish them, and recognise a published one."""

from __future__ import annotations

import base64
import re
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key

PrivateKey: TypeAlias = RSAPrivateKey | Ed25519PrivateKey
PublicKey: TypeAlias = RSAPublicKey | Ed25519PublicKey

RSA_BITS = 2048
"""RFC 8301 §3.2: at least 1024, should be 2048; a longer one does not fit every DNS answer and costs signing time."""
RSA_BITS_MAX = 4096
RECORD_LENGTH_MAX = 4096
"""A record with a 4096-bit key is under 800 characters; what is longer is not read."""


def generate_rsa() -> RSAPrivateKey:
    """Make an RSA key for ``rsa-sha256``. Takes a tenth of a second or more: not on an event loop."""
    return generate_private_key(public_exponent=65537, key_size=RSA_BITS)


def generate_ed25519() -> Ed25519PrivateKey:
    """Make a key for ``ed25519-sha256`` (RFC 8463)."""
    return Ed25519PrivateKey.generate()


def to_der(key: PrivateKey) -> bytes:
    """Serialise a private key as PKCS #8 DER, in clear: seal it before it is stored."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def to_pem(key: PrivateKey) -> bytes:
    """Serialise a private key as PKCS #8 PEM, in clear."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class UnusableKeyError(ValueError):
    """Not a private key that DKIM can sign with. Says why, never what was in it."""


def load(serialised: bytes) -> PrivateKey:
    """Read a private key back from PEM or DER without a passphrase; raises UnusableKeyError."""
    read = (
        serialization.load_pem_private_key
        if serialised.lstrip().startswith(b"-----BEGIN")
        else serialization.load_der_private_key
    )
    try:
        key = read(serialised, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = "not an unencrypted private key in PEM or DER"
        raise UnusableKeyError(message) from error
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey):
        message = "neither an RSA nor an Ed25519 key"
        raise UnusableKeyError(message)
    if not RSA_BITS <= key.key_size <= RSA_BITS_MAX:
        message = f"an RSA key of {key.key_size} bits; {RSA_BITS} to {RSA_BITS_MAX} are usable"
        raise UnusableKeyError(message)
    return key


def txt_record(key: PrivateKey | PublicKey) -> str:
    """Return the value of the TXT record at ``<selector>._domainkey.<domain>``, as one string."""
    public = key.public_key() if isinstance(key, RSAPrivateKey | Ed25519PrivateKey) else key
    if isinstance(public, RSAPublicKey):
        # RFC 6376 §3.6.1 as verifiers read it (erratum 3017): SubjectPublicKeyInfo, not the bare RSAPublicKey.
        kind = "rsa"
        data = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    else:
        # RFC 8463 §4.2: the 32 octets as they are, no ASN.1 around them.
        kind = "ed25519"
        data = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return f"v=DKIM1; k={kind}; p={base64.b64encode(data).decode('ascii')}"


def record_matches(txt: str, expected: str) -> bool:
    """Tell whether a TXT value found in DNS lets receivers verify what the key of ``expected`` signs.

    Compared by what verifiers read: the key and its kind must be equal; order, whitespace, notes, flags and unknown
    tags (RFC 6376 §3.6.1 says to ignore them) do not matter, a restriction that shuts our signatures out does.
    """
    found, wanted = _tags(txt), _tags(expected)
    if found is None or wanted is None:
        return False
    return (
        bool(wanted.get("p"))
        and found.get("p") == wanted["p"]
        and found.get("k", "rsa") == wanted.get("k", "rsa")
        and found.get("v", "DKIM1") == "DKIM1"
        # A record with v= must have it first, else verifiers skip it (RFC 6376 §3.6.1).
        and ("v" not in found or next(iter(found)) == "v")
        and "sha256" in found.get("h", "sha256").split(":")
        and not {"*", "email"}.isdisjoint(found.get("s", "*").split(":"))
    )


_blanks = re.compile(r"[ \t\r\n]+").sub


def _tags(record: str) -> dict[str, str] | None:
    """Read a tag list (RFC 6376 §3.2), blanks taken out; None when it is none, or says a tag twice."""
    if len(record) > RECORD_LENGTH_MAX:
        return None
    tags: dict[str, str] = {}
    for part in _blanks("", record).removesuffix(";").split(";"):
        name, equals, value = part.partition("=")
        if not equals or not name or name in tags:
            return None
        tags[name] = value
    return tags
