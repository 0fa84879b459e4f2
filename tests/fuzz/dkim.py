"""DKIM: our canonical forms are those of an independent implementation, in one piece or many, and it verifies what we
sign.
"""

from __future__ import annotations

import hashlib

import dkim as theirs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from dkim.canonicalization import Relaxed

from sekisho.wire.dkim import canonical, keys
from sekisho.wire.dkim.signature import Signer, sign
from sekisho.wire.mail import headers
from tests.fuzz.drawing import Draw

TOKENS = (
    b"\r\n", b" \r\n", b"\t", b"  ", b"\r\n\r\n\r\n", b"\r\n ", b"Subject: x\r\n", b"To: a@b.example\r\n", b"\r",
    b"\n", b"Content-Type: text/plain\r\n", b"Reply-To: x\r\n", b"DKIM-Signature: v=1\r\n", b"\xff", b";", b":", b".",
    b"SUBJECT:", b"Content-;l=0: x\r\n", b"Content-" + b"x" * 980,
)  # fmt: skip

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
_SIGNERS = [Signer("s", "ed25519-sha256", _KEY)]
_RECORD = keys.txt_record(_KEY).encode("ascii")


def target(data: bytes) -> None:
    draw = Draw(data)
    match draw.octet() % 8:
        case 0:
            _signed(draw)
        case 1 | 2:
            _field(draw.rest())
        case _:
            _body(draw.chunks())


def _body(chunks: list[bytes]) -> None:
    body = b"".join(chunks)
    form = canonical.relaxed_body(body)
    assert canonical.relaxed_body(form) == form
    hashing = canonical.BodyHash()
    for chunk in chunks:
        hashing.update(chunk)
    assert hashing.digest() == canonical.body_hash(body) == hashlib.sha256(form).digest()
    if body.endswith(b"\r\n") or not body:
        # What leaves ends in CRLF; of other bodies they think differently, within what the RFC says.
        assert form == Relaxed.canonicalize_body(body)


def _field(raw: bytes) -> None:
    fields = headers.parse(raw)
    if isinstance(fields, headers.HeaderFault):
        return
    for field in fields:
        name, _, value = field.raw.partition(b":")
        ((their_name, their_value),) = Relaxed.canonicalize_headers([(name, value)])
        assert canonical.relaxed_header(field.raw) == their_name + b":" + their_value


def _signed(draw: Draw) -> None:
    header = draw.piece(draw.number(2))
    body = draw.rest().replace(b"\r", b"").replace(b"\n", b"\r\n")
    fields = headers.parse(header)
    if isinstance(fields, headers.HeaderFault) or headers.find_duplicate(fields) is not None:
        return
    if not any(field.name == b"from" for field in fields):
        header += b"From: a@example.test\r\n"
    signature = sign(
        header, canonical.body_hash(body), domain="example.test", signers=_SIGNERS, at_s=1, expires_s=1 << 40
    )
    written = headers.parse(signature)
    assert not isinstance(written, headers.HeaderFault)
    assert [field.name for field in written] == [b"dkim-signature"]
    # A missing last line end is added on the way out.
    sent = body if not body or body.endswith(b"\r\n") else body + b"\r\n"
    message = signature + header + b"\r\n" + sent
    assert theirs.verify(message, dnsfunc=lambda _name, **_: _RECORD)
