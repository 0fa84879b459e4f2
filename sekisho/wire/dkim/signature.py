"""The DKIM-Signature header: what of a message is signed, and the field that says so (RFC 6376, RFC 8463).

Always relaxed/relaxed, never ``l=``: what is appended to a signed body must break the signature.

Oversigning: a name that stands once more in ``h=`` than in the message signs its absence (RFC 6376 §5.4.2), so that
nobody can add a second From or a Reply-To on the way and keep the signature. Some filters distrust a signature with
more absent fields than present ones, hence the cap: as many of ``OVERSIGNED``, in that order, as fields were signed.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, assert_never

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from sekisho.wire.dkim.canonical import relaxed_value
from sekisho.wire.dkim.keys import PrivateKey

Algorithm: TypeAlias = Literal["rsa-sha256", "ed25519-sha256"]

OVERSIGNED = (
    b"from",
    b"reply-to",
    b"subject",
    b"to",
    b"cc",
    b"content-type",
    b"date",
    b"message-id",
    b"mime-version",
    b"content-transfer-encoding",
    b"content-disposition",
)
"""Most dangerous first: who it is from, where the answer goes, what the reader sees, how the body is read."""

SIGNED = (
    b"from",
    b"to",
    b"cc",
    b"subject",
    b"date",
    b"message-id",
    b"reply-to",
    b"mime-version",
    b"sender",
    b"in-reply-to",
    b"references",
    # RFC 8058 §4: one-click unsubscribing counts only when a signature covers both.
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"list-id",
)
"""Signed when they stand, with every ``Content-*``. Never what relays add or take away: Received, Return-Path, Bcc,
other signatures, results."""

_CONTENT = b"content-"
_CONTENT_NAME_MAX = 70
"""One line of ``h=`` holds it, with its blank and colon; real ones are half as long."""


@dataclass(frozen=True, slots=True, eq=False)
class Signer:
    """One key at one selector."""

    selector: str
    algorithm: Algorithm
    key: PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        kind = RSAPrivateKey if self.algorithm == "rsa-sha256" else Ed25519PrivateKey
        if not isinstance(self.key, kind):
            message = f"{self.algorithm} cannot sign with this kind of key"
            raise TypeError(message)


def sign(
    header: bytes, body_hash: bytes, *, domain: str, signers: Sequence[Signer], at_s: int, expires_s: int
) -> bytes:
    """Return one DKIM-Signature field per signer, each ending in CRLF, to be put in front of ``header``.

    ``header`` is a block that ``headers.parse`` accepts, ``body_hash`` the digest of the relaxed body, ``at_s`` and
    ``expires_s`` are points in time (``t=``, ``x=``). Signs in the calling thread, where RSA gives up the GIL.
    Raises ValueError for a header without From or an expiry that is not after ``at_s``.
    """
    if expires_s <= at_s:
        message = "a signature must expire after it is made"
        raise ValueError(message)
    names, signed = _select(header)
    shared = b";\r\n t=%d; x=%d;\r\n h=%s;\r\n bh=%s;\r\n b=" % (
        at_s,
        expires_s,
        _folded(names),
        base64.b64encode(body_hash),
    )
    fields: list[bytes] = []
    for signer in signers:
        value = b"v=1; a=%s; c=relaxed/relaxed;\r\n d=%s; s=%s" % (
            signer.algorithm.encode("ascii"),
            domain.encode("ascii"),
            signer.selector.encode("ascii"),
        )
        value += shared
        # RFC 6376 §3.7: the field itself is hashed last, canonical, with an empty b= and without its CRLF. All our
        # blanks are single spaces, so taking the folds out is all that canonicalising it would do.
        data = signed + b"dkim-signature:" + value.replace(b"\r\n", b"")
        fields.append(b"DKIM-Signature: " + value + _folded_base64(_signature(signer, data)) + b"\r\n")
    return b"".join(fields)


# A field of a block that was judged before: the name, then everything up to a line that does not continue it.
_fields = re.compile(rb"([^:\r\n]++):([^\r]*+(?:\r\n[ \t][^\r]*+)*+)\r\n").findall


def _select(header: bytes) -> tuple[list[bytes], bytes]:
    """Choose what is signed: the names for ``h=``, and the canonical fields that they stand for, in that order."""
    present: dict[bytes, list[bytes]] = {}
    for name, value in _fields(header):
        name = name.lower()  # noqa: PLW2901  # one name, two spellings
        if name in _SIGNED or _is_content(name):
            present.setdefault(name, []).append(value)
    if b"from" not in present:
        # RFC 6376 §5.4: From must be signed.
        message = "a header without From cannot be signed"
        raise ValueError(message)
    names: list[bytes] = []
    canonical: list[bytes] = []
    for name, values in present.items():
        # RFC 6376 §5.4.2: of several fields of one name the last one in the message stands for the first mention.
        for value in reversed(values):
            names.append(name)
            canonical.append(name + b":" + relaxed_value(value) + b"\r\n")
    room = len(names)
    over = [*OVERSIGNED, *(name for name in present if _is_content(name) and name not in OVERSIGNED)]
    names += over[:room]
    return names, b"".join(canonical)


_SIGNED = frozenset(SIGNED)


def _is_content(name: bytes) -> bool:
    # RFC 5322 lets a field's name hold ";", and in a list of tags it would end h= and begin a tag of the sender's.
    return name.startswith(_CONTENT) and len(name) <= _CONTENT_NAME_MAX and b";" not in name


def _signature(signer: Signer, data: bytes) -> bytes:
    match signer.key:
        case RSAPrivateKey() as key:
            return key.sign(data, _PADDING, _SHA256)
        case Ed25519PrivateKey() as key:
            # RFC 8463 §3: PureEdDSA over the digest, not over the data.
            return key.sign(hashlib.sha256(data).digest())
        case unreachable:
            assert_never(unreachable)


_PADDING = PKCS1v15()
_SHA256 = SHA256()

_LINE = 76
"""Keeps every line of the field within 78 with its leading space (RFC 5322 §2.1.1)."""


def _folded(names: Sequence[bytes]) -> bytes:
    """Join the names of ``h=``, folded before a name where the line would grow over its length."""
    lines: list[bytes] = []
    line = b""
    for name in names:
        if not line:
            line = name
        elif len(line) + len(name) + 4 > _LINE:
            lines.append(line + b":")
            line = name
        else:
            line += b":" + name
    lines.append(line)
    return b"\r\n ".join(lines)


def _folded_base64(signature: bytes) -> bytes:
    """Print a signature, the first line two shorter for the ``b=`` that stands before it."""
    text = base64.b64encode(signature)
    cut = _LINE - 2
    return b"\r\n ".join([text[:cut], *(text[at : at + _LINE] for at in range(cut, len(text), _LINE))])
