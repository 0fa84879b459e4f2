"""Identifiers: one NewType per kind, and how each is made and printed.

No id ever starts with ``-``, so that one can always stand on a command line.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from typing import NewType

AccountId = NewType("AccountId", int)
"""An account or a subuser: both are rows of one table, numbered together as the vendor's user ids are."""

UserId = NewType("UserId", int)
"""A person who logs in. Not what the vendor calls a user id: that is an AccountId."""

KeyId = NewType("KeyId", str)
"""The 22-character middle part of an API key."""

DomainId = NewType("DomainId", int)

MessageId = NewType("MessageId", bytes)
"""16 bytes: 48-bit milliseconds, 16-bit node, 54 random bits, 10 bits that number the messages of one request.

Sorts by time as bytes; the text form does not."""

_MESSAGE_ID_BYTES = 16
_TEXT_LENGTH = 22


def new_message_id(now_ms: int, node: int, chance: int) -> MessageId:
    """Make the id of a message accepted at ``now_ms``; ``chance`` is 64 random bits, of which the lower 54 are used.

    It is also the id of the request that hands in this message and perhaps others: see ``message_id_of``.
    """
    number = (now_ms & 0xFFFF_FFFF_FFFF) << 80 | (node & 0xFFFF) << 64 | (chance << _PART_BITS & 0xFFFF_FFFF_FFFF_FFFF)
    return MessageId(number.to_bytes(_MESSAGE_ID_BYTES, "big"))


_PART_BITS = 10
PARTS_MAX = 1 << _PART_BITS
"""Messages of one request. The vendor takes 1,000 personalizations, each of which is a message."""

_PART_MASK = PARTS_MAX - 1


def message_id_of(request: MessageId, part: int) -> MessageId:
    """Make the id of one message of a request: the first, number 0, has the request's own."""
    return MessageId((int.from_bytes(request, "big") | part & _PART_MASK).to_bytes(_MESSAGE_ID_BYTES, "big"))


def request_of(message_id: MessageId) -> tuple[MessageId, int]:
    """Tell a message's request and its number there: the request's id is what its client was given."""
    number = int.from_bytes(message_id, "big")
    return MessageId((number & ~_PART_MASK).to_bytes(_MESSAGE_ID_BYTES, "big")), number & _PART_MASK


def last_meant(message_id: MessageId) -> MessageId:
    """Give the last of the ids that somebody means who names this one: a request's means all of its messages."""
    request, part = request_of(message_id)
    return message_id if part else message_id_of(request, _PART_MASK)


class Chance:
    """Random 64-bit numbers from the system, read many at a time: one system call per number is half an id's cost.

    Make it after the last fork: two processes must not give out the same numbers.
    """

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = b""

    def __call__(self) -> int:
        if not self._bytes:
            self._bytes = os.urandom(_CHANCE_BYTES)
        number, self._bytes = self._bytes[:8], self._bytes[8:]
        return int.from_bytes(number, "big")


_CHANCE_BYTES = 1024


def message_id_text(message_id: MessageId) -> str:
    """Print a message id as its 22 base64url characters (the ``queued as`` id)."""
    return binascii.b2a_base64(message_id, newline=False)[:_TEXT_LENGTH].translate(_URL_SAFE).decode("ascii")


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def parse_message_id(text: str) -> MessageId | None:
    """Read the 22-character form back; None when it is not one."""
    if len(text) != _TEXT_LENGTH or not text.isascii():
        return None
    try:
        raw = base64.b64decode(text + "==", altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    found = MessageId(raw)
    # The last character carries two spare bits: only the canonical spelling is an id.
    return found if message_id_text(found) == text else None


def random_text_id() -> str:
    """Make 22 random base64url characters that do not start with ``-`` (key ids)."""
    while (text := secrets.token_urlsafe(_MESSAGE_ID_BYTES)).startswith("-"):
        pass
    return text
