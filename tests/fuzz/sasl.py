"""SASL: no response raises, credentials are what an independent decoder reads, and none is ever shown."""

from __future__ import annotations

import base64
import binascii

from sekisho.wire.smtp import sasl
from sekisho.wire.smtp.sasl import Challenge, Credentials, SaslFault
from tests.fuzz.drawing import Draw

TOKENS = (b"AGFwaWtleQBrZXk=", b"YXBpa2V5", b"=", b"==", b"*", b"\n", b"AAAA", b" ", b"YQ==", b"\0", b"apikey")


def target(data: bytes) -> None:
    draw = Draw(data)
    match draw.octet() % 4:
        case 0:
            _plain(draw.rest())
        case 1:
            _login(*draw.rest().partition(b"\n")[::2])
        case 2:
            username, password = draw.rest().replace(b"\0", b"").partition(b"\n")[::2]
            step = sasl.PlainExchange().start(sasl.plain_response(username, password))
            assert step == Credentials(username, password)
        case _:
            username, password = draw.rest().partition(b"\n")[::2]
            exchange = sasl.LoginExchange()
            first, second = sasl.login_responses(username, password)
            assert exchange.start(None) == Challenge(sasl.USERNAME)
            assert exchange.respond(first) == Challenge(sasl.PASSWORD)
            assert exchange.respond(second) == Credentials(username, password)


def _plain(line: bytes) -> None:
    step = sasl.PlainExchange().respond(line)
    assert step == sasl.PlainExchange().start(line)
    raw = _decoded(line)
    match step:
        case Credentials(username, password):
            assert raw is not None
            assert raw in (b"\0" + username + b"\0" + password, username + b"\0" + username + b"\0" + password)
            assert "'" not in repr(step)
        case SaslFault.OTHER_IDENTITY:
            assert raw is not None
            assert raw.count(b"\0") == 2
        case SaslFault.CANCELLED:
            assert line == b"*"
        case _:
            assert step is SaslFault.ENCODING
            assert raw is None or raw.count(b"\0") != 2


def _login(first: bytes, second: bytes) -> None:
    exchange = sasl.LoginExchange()
    step = exchange.start(None)
    assert step == Challenge(sasl.USERNAME)
    step = exchange.respond(first)
    if (username := _decoded(first)) is None:
        assert isinstance(step, SaslFault)
        return
    assert step == Challenge(sasl.PASSWORD)
    step = exchange.respond(second)
    if (password := _decoded(second)) is None:
        assert isinstance(step, SaslFault)
    else:
        assert step == Credentials(username, password)


def _decoded(line: bytes) -> bytes | None:
    """RFC 4648 §4, padding included."""
    if len(line) % 4:
        return None
    try:
        return base64.b64decode(line, validate=True) if b"=" not in line.rstrip(b"=") and line[-3:] != b"===" else None
    except binascii.Error:
        return None
