"""The envelope sender we use: ours, one per recipient, and not to be forged.

``bounces+<token>@<return-path host>``. The token is message id, recipient and an HMAC of both, so a bounce that comes
back names exactly one delivery, and only one that we sent. Hexadecimal, because some hosts fold the case of local
parts; 62 octets, under the 64 of RFC 5321 §4.5.3.1.1.
"""

from __future__ import annotations

import hashlib
from typing import Final

from sekisho.ids import MessageId
from sekisho.secret import Secret

_DIGEST_BYTES: Final = 9
"""72 bits: a forger has one guess per mail sent to us."""
_SHARED: Final = (0xFFFF).to_bytes(2, "big")
"""Recipient number of an envelope sender that all recipients of a message share (``verp = false``)."""
_BLOCK_BYTES: Final = 64


class ReturnPaths:
    """Makes envelope senders under one secret of at most 64 bytes."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, secret: Secret[bytes]) -> None:
        # HMAC-SHA-256 (RFC 2104 §2) with both halves of the key hashed once: OpenSSL's own takes 15 us to set up.
        key = secret.reveal().ljust(_BLOCK_BYTES, b"\0")
        if len(key) != _BLOCK_BYTES:
            message = "a return path secret is at most 64 bytes"
            raise ValueError(message)
        self._inner: Final = hashlib.sha256(bytes(octet ^ 0x36 for octet in key))
        self._outer: Final = hashlib.sha256(bytes(octet ^ 0x5C for octet in key))

    def own(self, message_id: MessageId, recipient_index: int, host: str) -> str:
        """Print the envelope sender of one recipient."""
        return self._path(message_id + recipient_index.to_bytes(2, "big"), host)

    def shared(self, message_id: MessageId, host: str) -> str:
        """Print the one that all recipients of a message share."""
        return self._path(message_id + _SHARED, host)

    def _path(self, named: bytes, host: str) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(named)
        outer.update(inner.digest())
        return f"bounces+{named.hex()}{outer.digest()[:_DIGEST_BYTES].hex()}@{host}"
