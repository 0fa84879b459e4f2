"""Stored rows: damaged ones raise the error that is documented and no other, sound ones read back as they were."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import msgspec

from sekisho.doors.cli import eventtext
from sekisho.events import record
from sekisho.ids import AccountId, KeyId, MessageId
from sekisho.queue.model import (
    Bounced,
    BounceType,
    Deferred,
    Delivered,
    Delivery,
    Dropped,
    Expired,
    Message,
    Outcome,
    Recipient,
    Remote,
)
from sekisho.queue.records import encode_envelope, read_envelope, read_message
from sekisho.queue.spool import Settlement
from tests.fuzz.drawing import Draw

TOKENS = (
    b"\x9b", b"\xc0", b"\xc2", b"\xc3", b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", b"\xd9\x04", b"\x91" * 60, b"\x80",
    b"\xa1\xff", b"\xc4\x10", b"\xd3\x80\0\0\0\0\0\0\0", b"\xca\x7f\x80\0\0", b"\xdf\xff\xff\xff\xff", b"\xa4kind",
)  # fmt: skip

_ID = bytes(range(16))


def target(data: bytes) -> None:
    draw = Draw(data)
    match draw.octet() % 4:
        case 0:
            _envelope(draw.rest())
        case 1:
            _event(draw.rest())
        case 2:
            at, new = draw.number(2), draw.octet()
            message = _message(draw)
            written = encode_envelope(message)
            assert encode_envelope(read_envelope(_ID, written)) == written
            _envelope(_damaged(written, at, new))
        case _:
            at, new = draw.number(2), draw.octet()
            for written in record.encode(_settlement(draw)):
                event = record.decode(written)
                assert event.message_id == _ID
                _event(_damaged(written, at, new))


def _envelope(blob: bytes) -> None:
    with contextlib.suppress(msgspec.DecodeError):
        message = read_message(Path("bodies"), (_ID, blob, None, None, b"h", b"b", None, None))
        assert message.id == _ID
        assert (message.header, message.body) == (b"h", b"b")
        assert read_envelope(_ID, encode_envelope(message)).unique_args == message.unique_args


def _event(blob: bytes) -> None:
    with contextlib.suppress(record.NotAnEvent):
        event = record.decode(blob)
        assert len(event.message_id) == len(_ID)
        # All that a column of any store takes, and both ways of showing it.
        assert 0 <= event.recipient_index < 2**31
        assert 0 <= event.attempt < 2**31
        assert 0 <= event.at_ms // 86_400_000 < 2**31
        assert len(event.email) <= 320
        assert "\0" not in event.email
        assert eventtext.line(event, {}).isprintable()
        assert json.dumps(eventtext.document(event, {}))


def _damaged(blob: bytes, at: int, new: int) -> bytes:
    at %= len(blob)
    return blob[:at] + bytes((new,)) + blob[at + 1 :]


def _text(draw: Draw) -> str:
    return draw.piece(draw.octet() % 40).decode("utf-8", "replace")


def _message(draw: Draw) -> Message:
    return Message(
        id=MessageId(_ID),
        accepted_ms=draw.number(5),
        account_id=AccountId(draw.number(3)),
        subuser_id=AccountId(draw.number(3)) if draw.flag() else None,
        key_id=KeyId(_text(draw)[:22].replace("\0", "")),
        mail_from=_text(draw),
        from_domain=_text(draw),
        header=b"",
        body=b"",
        eight_bit=draw.flag(),
        smtp_id=_text(draw),
        categories=tuple(_text(draw) for _ in range(draw.octet() % 4)),
        category_is_list=draw.flag(),
        unique_args=tuple((_text(draw), _text(draw)) for _ in range(draw.octet() % 4)),
    )


def _settlement(draw: Draw) -> Settlement:
    message = _message(draw)
    remote = Remote(_text(draw), _text(draw), _text(draw), _text(draw), _text(draw), tls_verified=draw.flag())
    outcomes: tuple[Outcome, ...] = (
        Delivered(_text(draw), remote),
        Deferred(_text(draw), draw.number(7), _text(draw), remote),
        Bounced(_text(draw), BounceType.BOUNCE, _text(draw), remote),
        Dropped(_text(draw)),
        Expired(_text(draw), _text(draw)),
    )
    delivery = Delivery(1, message, Recipient(draw.octet(), _text(draw).replace("\0", "")), draw.octet(), 1)
    return Settlement(delivery, outcomes[draw.octet() % len(outcomes)], draw.number(5))
