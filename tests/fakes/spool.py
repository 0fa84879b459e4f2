"""A spool in memory: what ``queue.spool.Spool`` promises, with a commit one turn of the loop later."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sekisho.ids import AccountId, KeyId, MessageId
from sekisho.ports.clock import Clock, SystemClock
from sekisho.queue.model import (
    BodyFile,
    Deferred,
    Delivery,
    Message,
    NewMessage,
    Outcome,
    Recipient,
)
from sekisho.queue.spool import (
    DestinationDue,
    Found,
    HeldSenders,
    HopState,
    Settlement,
    ShutHop,
    Wanted,
)
from sekisho.refusal import Refused


class MemorySpool:
    """Rows, settlements, and a count of everything asked."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.rows: dict[int, Delivery] = {}
        self.settlements: list[Settlement] = []
        self.asked: Counter[str] = Counter()
        self.failing = 0
        """So many settlements fail before one succeeds."""
        self.aside: set[int] = set()
        """Rows that were set aside."""
        self.notes: list[HopState] = []
        self.shut_before: list[ShutHop] = []
        self._clock = clock or SystemClock()
        self._changed = asyncio.Event()
        self._next_row = 1

    def store(self, message: Message, recipients: Iterable[Recipient], due_ms: int = 0) -> tuple[Delivery, ...]:
        """Put deliveries in as a process did before this one."""
        made = []
        for recipient in recipients:
            delivery = Delivery(self._next_row, message, recipient, 0, due_ms)
            self.rows[delivery.row] = delivery
            self._next_row += 1
            made.append(delivery)
        return tuple(made)

    def append(self, *news: NewMessage) -> asyncio.Future[tuple[Delivery, ...] | Refused]:
        future: asyncio.Future[tuple[Delivery, ...] | Refused] = asyncio.get_running_loop().create_future()
        free = [new for new in news if not new.is_held]
        future.set_result(tuple(each for new in free for each in self.store(new.message, new.recipients)))
        return future

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        self.asked["settle"] += 1
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(self._commit, settlement, future)
        return future

    def _commit(self, settlement: Settlement, future: asyncio.Future[bool]) -> None:
        if self.failing:
            self.failing -= 1
            future.set_exception(OSError("disk full"))
            return
        row = settlement.delivery.row
        known = row in self.rows
        if known:
            self.settlements.append(settlement)
            match settlement.outcome:
                case Deferred(next_ms=next_ms, faults=faults, is_set_aside=is_set_aside):
                    stored = self.rows[row]
                    self.rows[row] = replace(stored, attempts=stored.attempts + 1, due_ms=next_ms, faults=faults)
                    if is_set_aside:
                        self.aside.add(row)
                case _:
                    del self.rows[row]
        future.set_result(known)
        self._changed.set()

    async def destinations(self, after: str, limit: int) -> Sequence[DestinationDue]:
        self.asked["destinations"] += 1
        await asyncio.sleep(0)
        found: dict[str, int] = {}
        for delivery in self.rows.values():
            name = delivery.recipient.destination
            if name > after and delivery.row not in self.aside:
                found[name] = min(delivery.due_ms, found.get(name, delivery.due_ms))
        return tuple(DestinationDue(name, found[name]) for name in sorted(found)[:limit])

    async def due(self, wanted: Sequence[Wanted], now_ms: int, limit: int, held: HeldSenders) -> Sequence[Found]:
        self.asked["due"] += 1
        await asyncio.sleep(0)
        answer: list[Found] = []
        for each in wanted:
            if limit <= 0:
                break
            answer.append(self._found(each, now_ms, held))
            limit -= len(answer[-1].deliveries)
            self.asked["read"] += len(answer[-1].deliveries)
        return answer

    def _found(self, wanted: Wanted, now_ms: int, held: HeldSenders) -> Found:
        rows = [
            d for d in self.rows.values() if d.recipient.destination == wanted.destination and d.row not in self.aside
        ]
        tried_after_ms = wanted.tried_after_ms
        due = sorted(
            (
                d
                for d in rows
                if d.due_ms <= now_ms
                and d.row not in wanted.known
                and d.message.key_id not in held.keys
                and d.message.sender_id not in held.senders
                and (tried_after_ms is None or d.attempts == 0 or d.message.accepted_ms <= tried_after_ms)
            ),
            key=lambda d: (d.due_ms, d.row),
        )
        later_ms = min((d.due_ms for d in rows if d.due_ms > now_ms), default=None)
        return Found(wanted.destination, due[: wanted.limit], len(due) > wanted.limit, later_ms)

    def note(self, state: HopState) -> None:
        self.notes.append(state)
        self._changed.set()

    async def shut_hops(self) -> Sequence[ShutHop]:
        return self.shut_before

    @property
    def outcomes(self) -> list[Outcome]:
        return [settlement.outcome for settlement in self.settlements]

    async def wait_for(self, count: int) -> list[Settlement]:
        """Wait until so many settlements are written."""
        await self.until(lambda: len(self.settlements) >= count)
        return self.settlements

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something that settlements or notes bring about."""
        async with asyncio.timeout(30):
            while not reached():
                self._changed.clear()
                await self._changed.wait()


def make_message(
    number: int = 1, body: bytes | BodyFile = b"Hello.\r\n", *, sender: int = 1, key: str = "key", accepted_ms: int = 0
) -> Message:
    """A plain message; ``number`` makes its id."""
    return Message(
        id=MessageId(number.to_bytes(16, "big")),
        accepted_ms=accepted_ms or SystemClock().now_ms(),
        account_id=AccountId(sender),
        subuser_id=None,
        key_id=KeyId(key),
        mail_from="client@us.test",
        from_domain="us.test",
        header=f"From: a@us.test\r\nSubject: message {number}\r\n".encode(),
        body=body,
        eight_bit=False,
        smtp_id=f"<{number}@us.test>",
    )


def recipients(*addresses: str) -> tuple[Recipient, ...]:
    return tuple(Recipient(index, address) for index, address in enumerate(addresses))
