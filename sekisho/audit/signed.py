"""Signed heads: what a chain came to at some time, kept where who writes the database does not write.

One line of JSON per head. The key is derived from the master key, so that no copy of the database holds it; the public
half is in each line and printed by ``audit verify``.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sekisho.audit.chain import Head
from sekisho.sealing import Sealer

_PURPOSE: Final = "audit heads"
_PREFIX: Final = b"sekisho audit head 1\0"

LINE_MAX_BYTES: Final = 1000


class SignedHead(msgspec.Struct, frozen=True):
    """One line."""

    chain: int
    """The account or subuser; 0 is the operator's own."""
    seq: int
    hash: str
    """Hexadecimal."""
    at_ms: int
    """When it was signed."""
    public_key: str
    """Ed25519, base64."""
    signature: str
    """Base64."""

    @property
    def head(self) -> Head:
        return Head(self.chain, self.seq, bytes.fromhex(self.hash))


_line: Final = msgspec.json.Decoder(SignedHead)


def decode(line: bytes) -> SignedHead:
    """Read one line, whoever signed it; raises ValueError (msgspec's errors are such)."""
    return _line.decode(line)


class Signer:
    """Signs heads with the key that belongs to the master key."""

    def __init__(self, sealer: Sealer) -> None:
        self._key: Final = Ed25519PrivateKey.from_private_bytes(sealer.derive(_PURPOSE).reveal())
        self.public_key: Final = base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def sign(self, head: Head, at_ms: int) -> bytes:
        """Print the signed line, with its line end."""
        signature = base64.b64encode(self._key.sign(_signed(head, at_ms))).decode()
        line = SignedHead(head.chain, head.seq, head.hash.hex(), at_ms, self.public_key, signature)
        return msgspec.json.encode(line) + b"\n"


class BadHead(Exception):
    """A line is not a head signed with the expected key."""


def read_heads(lines: Iterator[bytes], public_key: str) -> Iterator[SignedHead]:
    """Read signed lines; raises BadHead, naming the line, at the first that is none.

    A line that a crash has cut short is left out: who could cut it could as well have removed it.
    """
    for number, line in enumerate(lines, 1):
        if line.strip() and not _is_torn(line):
            yield _read(line, number, public_key)


def _is_torn(line: bytes) -> bool:
    return line.startswith(b'{"chain":') and not line.rstrip().endswith(b"}")


def _read(line: bytes, number: int, public_key: str) -> SignedHead:
    try:
        found = decode(line)
        signature = base64.b64decode(found.signature, validate=True)
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        head = found.head
    except (binascii.Error, ValueError) as error:
        message = f"line {number} is not a signed head"
        raise BadHead(message) from error
    if found.public_key != public_key:
        message = f"line {number} was signed with another key: {found.public_key}"
        raise BadHead(message)
    try:
        key.verify(signature, _signed(head, found.at_ms))
    except InvalidSignature:
        message = f"the signature in line {number} is wrong"
        raise BadHead(message) from None
    return found


def _signed(head: Head, at_ms: int) -> bytes:
    return _PREFIX + msgspec.json.encode([head.chain, head.seq, head.hash.hex(), at_ms])
