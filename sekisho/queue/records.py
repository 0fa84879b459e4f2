"""A message as its row and back."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from sekisho.ids import AccountId, KeyId, MessageId
from sekisho.queue.model import BodyFile, Message

_Envelope = tuple[
    int,  # accepted_ms
    int,  # account_id
    int | None,  # subuser_id
    str,  # key_id
    str,  # mail_from
    str,  # from_domain
    bool,  # eight_bit
    str,  # smtp_id
    tuple[str, ...],  # categories
    bool,  # category_is_list
    tuple[tuple[str, str], ...],  # unique_args
]
"""Positions are the format: fields are only ever added at the end, with a new schema version."""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Envelope).decode

MESSAGE_COLUMNS: Final = "id, envelope, body_file, body_size, header, body, checksum, body_checksum"
"""What ``read_message`` is given."""

_Columns = tuple[bytes, bytes, str | None, int | None, bytes, bytes, int | None, int | None]

_PIECE_BYTES: Final = 5 << 10
"""For more zlib gives the interpreter lock up. Beside a busy loop, getting it back costs more than the checksum:
55 µs for 10 KiB (measured), in pieces 4."""


class DamagedError(Exception):
    """A message came back from the disk as another than was written."""


def encode_envelope(message: Message) -> bytes:
    """Encode everything of a message but its id and content."""
    return _encode(
        (
            message.accepted_ms,
            message.account_id,
            message.subuser_id,
            message.key_id,
            message.mail_from,
            message.from_domain,
            message.eight_bit,
            message.smtp_id,
            message.categories,
            message.category_is_list,
            message.unique_args,
        )
    )


def checksum(envelope: bytes, header: bytes, body: bytes, file: BodyFile | None = None) -> int:
    """CRC-32 of a message's row: against disks that forget, not against people who forge.

    ``file`` is where the body is when it is not in the row; its bytes have a checksum of their own.
    """
    found = crc32(header, crc32(envelope))
    if file is not None:
        found = crc32(repr((file.path.name, file.size_bytes, file.checksum)).encode(), found)
    if len(body) <= _PIECE_BYTES:
        return crc32(body, found)
    view = memoryview(body)
    for start in range(0, len(body), _PIECE_BYTES):
        found = crc32(view[start : start + _PIECE_BYTES], found)
    return found


def read_envelope(message_id: bytes, envelope: bytes) -> Message:
    """Read a message without its content; header and body are empty. Raises as ``read_message`` does."""
    return _message(message_id, envelope, b"", b"")


def read_message(bodies: Path, columns: _Columns) -> Message:
    """Read a whole message; a large body stays in its file under ``bodies``, and is checked when that is read.

    Raises:
        msgspec.DecodeError: the row is damaged beyond reading.
        DamagedError: it can be read, but says something else than was written.
    """
    message_id, envelope, body_file, body_size, header, body, written, body_checksum = columns
    file = None if body_file is None else BodyFile(bodies / body_file, body_size or 0, body_checksum)
    message = _message(message_id, envelope, header, body if file is None else file)
    if written is not None and not _is_as_written(written, envelope, header, body, file):
        raise DamagedError
    return message


def _is_as_written(written: int, envelope: bytes, header: bytes, body: bytes, file: BodyFile | None) -> bool:
    try:
        return checksum(envelope, header, body, file) == written
    except TypeError:
        # In a damaged row a blob may not even be one.
        return False


def _message(message_id: bytes, envelope: bytes, header: bytes, body: bytes | BodyFile) -> Message:
    try:
        decoded = _decode(envelope)
    except (UnicodeDecodeError, TypeError) as error:
        # Damage within a text is told by another exception, and a damaged row's blob may not even be one.
        raise msgspec.DecodeError(str(error)) from error
    (
        accepted_ms,
        account_id,
        subuser_id,
        key_id,
        mail_from,
        from_domain,
        eight_bit,
        smtp_id,
        categories,
        category_is_list,
        unique_args,
    ) = decoded
    return Message(
        id=MessageId(message_id),
        accepted_ms=accepted_ms,
        account_id=AccountId(account_id),
        subuser_id=None if subuser_id is None else AccountId(subuser_id),
        key_id=KeyId(key_id),
        mail_from=mail_from,
        from_domain=from_domain,
        header=header,
        body=body,
        eight_bit=eight_bit,
        smtp_id=smtp_id,
        categories=categories,
        category_is_list=category_is_list,
        unique_args=unique_args,
    )
