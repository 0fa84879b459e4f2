"""Stage 1, the one way in: what a door hands over, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.identity import Identity
from sekisho.ids import MessageId
from sekisho.queue.model import BodyFile


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """A message being handed in, complete and within the door's bounds, not yet judged."""

    identity: Identity
    mail_from: str
    """The client's MAIL FROM path without brackets; ``""`` for the null path."""
    recipients: tuple[str, ...]
    """``local@domain`` (domain lower case), in the order given, already admitted one by one."""
    header: bytes
    """The header block as received: lines ending in CRLF, without the empty line."""
    body: bytes | BodyFile
    """After the empty line, dots unstuffed. A BodyFile here is a temporary file that accept() moves or removes."""
    trace: bytes
    """The finished ``Received:`` field of this door, CRLF at its end; prepended as it is."""
    eight_bit: bool
    """Some octet of header or body is over 127."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """On disk: from here on every recipient ends in exactly one outcome."""

    message_id: MessageId
