"""The envelope sender we use: ours, one per recipient, and not to be forged.

``bounces+<token>@<return-path host>``. The token is message id, recipient and a keyed digest of both, so a bounce that
comes back names exactly one delivery, and only one that we sent. Base32 in lower case, because some hosts fold the
case of local parts; 55 octets at most, under the 64 of RFC 5321 §4.5.3.1.1.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from sekisho.ids import MessageId
from sekisho.secret import Secret

_DIGEST_BYTES = 10
"""80 bits: a forger has one guess per mail sent to us."""
_SHARED = 0xFFFF
"""Recipient number of an envelope sender that all recipients of a message share (``verp = false``)."""


def return_path(secret: Secret[bytes], message_id: MessageId, recipient_index: int | None, host: str) -> str:
    """Print the envelope sender of one recipient; None for the one shared by all."""
    number = _SHARED if recipient_index is None else recipient_index
    named = message_id + number.to_bytes(2, "big")
    digest = hmac.digest(secret.reveal(), named, hashlib.sha256)[:_DIGEST_BYTES]
    token = base64.b32encode(named + digest).rstrip(b"=").lower().decode("ascii")
    return f"bounces+{token}@{host}"
