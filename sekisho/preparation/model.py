"""What an attempt gets from preparation: the bytes that go out, or why there are none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol

from sekisho.queue.model import BodyFile, Delivery, Dropped


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """One recipient's copy, signed."""

    mail_from: str
    """The envelope sender of this recipient, without brackets: ours, authenticated, bounces come home to it."""
    shared_mail_from: str
    """The same for a route with ``verp = false``: one envelope sender for all recipients of the message."""
    header: bytes
    """The complete header block, signatures first; every line ends in CRLF, no empty line."""
    body: bytes | BodyFile
    """Dots not yet stuffed."""
    eight_bit: bool


@dataclass(frozen=True, slots=True)
class NotNow:
    """Something this needs is missing at the moment (keys, database): defer, never send without it."""

    reason: str


Prepared = Ready | NotNow | Dropped


class Preparer(Protocol):
    """What the scheduler asks at the start of an attempt."""

    def prepare(self, delivery: Delivery) -> asyncio.Future[Prepared]:
        """Begin preparing; the future finishes on the loop. Equal content is signed once."""
