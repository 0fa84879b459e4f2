"""Fill a spool without SMTP: ``python -m tools.benchfill DATA_DIR --messages N``, for queues too deep to be sent.

It appends as an accepting worker does, in the same transactions. While no server runs it takes the slot that the next
worker will find free; with ``--unowned`` a running worker claims what comes.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
from pathlib import Path

from sekisho.events.record import encode
from sekisho.ids import AccountId, Chance, KeyId, new_message_id
from sekisho.ports.clock import SystemClock
from sekisho.queue.local import LocalSpool
from sekisho.queue.model import Delivery, Message, NewMessage, Recipient
from sekisho.refusal import Refused
from tools.benchlib import Unfit, tell

_ACCOUNT = AccountId(1)
"""The first account of a data directory."""

_UNANSWERED_MAX = 5_000
_LINE = b"The quick brown fox jumps over the lazy dog, again and again and ag.\r\n"

_HEADER = (
    "From: Bench <bench@example.test>\r\nTo: <{address}>\r\nSubject: number {number}\r\n"
    "Message-ID: <{number}@example.test>\r\nDate: Tue, 24 Nov 2026 00:00:00 +0000\r\nMIME-Version: 1.0\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\nX-Bench-Run: {run:08x}\r\nX-Bench-Seq: {number}\r\n"
)


async def fill(data: Path, *, messages: int, domains: int, to_domain: str, size: int, run: int, owned: bool) -> None:
    clock, chance = SystemClock(), Chance()
    spool = LocalSpool(data / "spool", encode=encode, clock=clock, with_slot=owned)
    spool.start()
    waiting: collections.deque[asyncio.Future[tuple[Delivery, ...] | Refused]] = collections.deque()
    try:
        for number in range(messages):
            address = f"user{number}@{f'd{number % domains:05}.' if domains > 1 else ''}{to_domain}"
            header = _HEADER.format(address=address, number=number, run=run).encode()
            now_ms = clock.now_ms()
            message = Message(
                id=new_message_id(now_ms, spool.node, chance()),
                accepted_ms=now_ms,
                account_id=_ACCOUNT,
                subuser_id=None,
                key_id=KeyId("bench"),
                mail_from="bench@example.test",
                from_domain="example.test",
                header=header,
                body=_LINE * max(1, (size - len(header)) // len(_LINE)),
                eight_bit=False,
                smtp_id=f"<{number}@example.test>",
            )
            waiting.append(spool.append(NewMessage(message, (Recipient(0, address),))))
            if len(waiting) > _UNANSWERED_MAX:
                _insist(await waiting.popleft())
            if number % 100_000 == 99_999:
                tell(f"{number + 1} messages in the spool")
        while waiting:
            _insist(await waiting.popleft())
    finally:
        await spool.close()


def _insist(answer: tuple[Delivery, ...] | Refused) -> None:
    if isinstance(answer, Refused):
        message = f"the spool refused a message: {answer.reason.value}"
        raise Unfit(message)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.benchfill", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--messages", type=int, required=True)
    parser.add_argument("--domains", type=int, default=1)
    parser.add_argument("--to-domain", default="deep.test")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--run", type=int, default=1)
    parser.add_argument("--unowned", action="store_true")
    chosen = parser.parse_args()
    asyncio.run(
        fill(
            chosen.data,
            messages=chosen.messages,
            domains=chosen.domains,
            to_domain=chosen.to_domain,
            size=chosen.size,
            run=chosen.run,
            owned=not chosen.unowned,
        )
    )


if __name__ == "__main__":
    main()
