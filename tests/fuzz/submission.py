"""The way in, given any header block: a refusal that can be said in one line, or a message that is fit to be signed.

Of what is taken: one From (whose domain is the one that was judged), one Date, one Message-ID, nothing that must not
travel, our trace in front, and every other field as it came and in its order.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from email.utils import getaddresses
from pathlib import Path
from typing import cast

from sekisho.domains import SigningDomain
from sekisho.identity import Identity, KeyPolicy
from sekisho.ids import AccountId, DomainId, KeyId
from sekisho.queue.model import Delivery, NewMessage
from sekisho.queue.spool import Spool
from sekisho.refusal import Refused
from sekisho.submission import RECEIVED_MAX, Intake, Submission
from sekisho.wire.mail import headers
from sekisho.wire.mail.address import Mailbox, parse_path
from tests.fuzz.drawing import Draw
from tests.fuzz.running import run

TOKENS = (
    b"From: Ann <ann@example.test>\r\n", b"To: bob@example.com\r\n", b"Bcc: c@example.com\r\n",
    b"Return-Path: <x@y>\r\n", b"X-SMTPAPI: {}\r\n", b'X-SMTPAPI: {"to":["c@d.example"]}\r\n',
    b"Message-ID: <1@example.test>\r\n", b"Date: \r\n", b"Message-ID: \r\n", b"Received: by x\r\n", b"date: now\r\n",
    b" fold\r\n", b"\t\r\n", b"\r\n", b"\xff", b"\x1b", b":", b"Subject: x\r\n", b"DKIM-Signature: v=1\r\n",
    b"x" * 998, b'"category":', b'"unique_args":{"a":"b"}',
)  # fmt: skip

TRACE = b"Received: from client by relay.test with ESMTPSA id 1; Mon, 21 Sep 2026 12:26:40 +0000\r\n"
RECIPIENTS = ("bob@example.com", "eve@example.com", "bob@example.com")
GONE = {b"bcc", b"return-path", b"x-smtpapi"}
OWN_FIELDS = 3


class _Clock:
    def now_ms(self) -> int:
        return 1_790_000_000_000

    def monotonic(self) -> float:
        return 0.0


class _Spool:
    """As much of a spool as the way in knows."""

    def __init__(self) -> None:
        self.taken: list[NewMessage] = []

    def append(self, *news: NewMessage) -> asyncio.Future[tuple[Delivery, ...] | Refused]:
        self.taken += news
        future: asyncio.Future[tuple[Delivery, ...] | Refused] = asyncio.get_running_loop().create_future()
        future.set_result(())
        return future


class _Domains:
    async def lookup(self, account_id: AccountId, subuser_id: AccountId | None, domain: str) -> SigningDomain | None:
        del account_id, subuser_id
        return SigningDomain(DomainId(1), domain, None, ())


def _anybody(identity: Identity, mailbox: Mailbox, already: int) -> None:
    del identity, mailbox, already


def target(data: bytes) -> None:
    draw = Draw(data)
    policy = KeyPolicy(max_recipients=1) if draw.flag() else KeyPolicy()
    header = draw.rest()
    identity = Identity(AccountId(1), None, KeyId("k" * 22), frozenset({"mail.send"}), policy)
    spool = _Spool()
    intake = Intake(
        spool=cast("Spool", spool),
        domains=_Domains(),
        body_path=lambda _: Path("body"),
        hostname="relay.test",
        node=5,
        clock=_Clock(),
        recipient=_anybody,
    )
    answer = run(
        intake.accept(Submission(identity, "a@b.example", RECIPIENTS, header, b"Hi.\r\n", TRACE, eight_bit=False))
    )
    if isinstance(answer, Refused):
        assert not spool.taken
        assert answer.detail.isascii()
        assert not answer.detail or answer.detail.isprintable()
        assert len(answer.detail) <= 200
        return
    (new,) = spool.taken
    _check(new, header)


def _check(new: NewMessage, header: bytes) -> None:
    message = new.message
    came = headers.parse(header)
    assert not isinstance(came, headers.HeaderFault)
    leaves = headers.parse(message.header, fields_max=headers.FIELDS_MAX + OWN_FIELDS)
    assert not isinstance(leaves, headers.HeaderFault)
    names = Counter(field.name for field in leaves)
    assert names[b"from"] == names[b"date"] == names[b"message-id"] == 1
    assert not GONE & set(names)
    assert names[b"received"] <= RECEIVED_MAX + 1
    assert message.header.startswith(TRACE)
    untouched = [field.raw for field in came if field.name not in GONE and (field.value or field.name not in _FILLED)]
    added = len(leaves) - len(untouched)
    assert 1 <= added <= OWN_FIELDS
    assert [field.raw for field in leaves[added:]] == untouched
    (sender,) = (field for field in leaves if field.name == b"from")
    found = [address for _, address in getaddresses([sender.value.decode("latin-1")]) if address]
    assert [address.rpartition("@")[2].lower() for address in found] in ([], [message.from_domain])
    assert message.smtp_id
    assert message.smtp_id.isascii()
    assert [recipient.index for recipient in new.recipients] == list(range(len(new.recipients)))
    for recipient in new.recipients:
        assert parse_path(recipient.address) is not None
    assert message.categories is not None


_FILLED = {b"date", b"message-id"}
