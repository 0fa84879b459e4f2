"""The spool on this machine's disk, as a process's event loop sees it.

Two threads do the work (writer.py, reader.py); this is their meeting point on the loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import structlog

from sekisho.ids import MessageId, message_id_text
from sekisho.ports.clock import Clock
from sekisho.queue import bodies, queries, recovery, schema, timeline
from sekisho.queue.faults import EXIT_SUSPECT, NO_ROOM, Fault, fault_of, mark_suspect
from sekisho.queue.flights import Flights
from sekisho.queue.freshness import Freshness, Read
from sekisho.queue.layout import Layout
from sekisho.queue.model import BodyFile, Delivery, Dropped, NewMessage
from sekisho.queue.reader import Reader
from sekisho.queue.records import encode_envelope
from sekisho.queue.schema import RECIPIENT_BITS
from sekisho.queue.slots import NO_SLOT, Slots
from sekisho.queue.spool import DestinationDue, Found, HeldSenders, HopState, Settlement, ShutHop, Wanted
from sekisho.queue.transaction import Append, Claim, Note, Operation, SetAside, Settle
from sekisho.queue.wake import Bell
from sekisho.queue.watch import ChangeKind, SpoolChange, SpoolSuspectError, Watch
from sekisho.queue.writer import Writer, WriterStoppedError
from sekisho.refusal import Reason, Refused

_log = structlog.get_logger(__name__)

CLAIM_MAX = 500
"""Deliveries that a worker claims at once, so that several share what other processes append."""

DAMAGED = "4.3.0 the stored message is damaged: its checksum does not match"

Encode = Callable[[Settlement], Sequence[bytes]]


def exit_at_once() -> NoReturn:
    """End the process before anything more can be acknowledged."""
    os._exit(EXIT_SUSPECT)


class LocalSpool:
    """Implements ``queue.spool.Spool``. Made on the loop after the last fork; then ``start``, at the end ``close``.

    ``with_slot=False`` is for processes that only append: their deliveries are claimed by whichever worker there is.
    """

    def __init__(
        self,
        directory: Path,
        *,
        encode: Encode,
        clock: Clock,
        die: Callable[[], None] = exit_at_once,
        with_slot: bool = True,
        bell: Bell | None = None,
        on_change: Callable[[SpoolChange], None] | None = None,
        on_adopted: Callable[[], None] | None = None,
    ) -> None:
        """Prepare the directory if nobody uses it yet, and open the spool; blocks, for long after a failure.

        ``bell``: rung when this process appends without a slot, and heard when it has one.
        ``on_change`` and ``on_adopted`` are called on the loop: deliveries known to the scheduler were changed by
        others; deliveries of a dead worker are ours now, so destinations must be read again.

        Raises:
            SpoolTooNewError: a later release used this spool.
            LockTimeoutError: it must be recovered, and another process still has it open.
        """
        self._layout = layout = Layout(directory)
        self._loop = asyncio.get_running_loop()
        self._encode = encode
        self._clock = clock
        self._die = die
        self._on_change = on_change
        self._on_adopted = on_adopted
        self._usage, self.report = recovery.enter(layout, clock.now_ms())
        self._slots = Slots(layout) if with_slot else None
        self.flights = Flights.at(layout.flights(self._slots.first)) if self._slots else Flights()
        """What is under way here, and what was when workers before died."""
        connection = schema.connect(layout.database, read_only=True)
        self.meta = schema.read_meta(connection)
        self.clock = timeline.read(connection, clock)
        """The spool's own time: what due times and ages are compared with."""
        self._writer = Writer(
            layout,
            partial(schema.connect, layout.database),
            owner=self._slots.first if self._slots else NO_SLOT,
            clock=self.clock,
            answer=partial(self._post, self._resolve),
            die=die,
        )
        self._reader = Reader(
            connection,
            loop=self._loop,
            tick=Watch(
                layout,
                self._slots,
                clock,
                on_change=partial(self._post, self._changed),
                on_unclaimed=partial(self._post, self._claim),
                on_adopted=partial(self._post, self._adopted),
            ),
            on_error=self._reading_failed,
        )
        self._bell = bell
        self._files = ThreadPoolExecutor(4, thread_name_prefix="spool body")
        self._freshness = Freshness()
        self._claiming = False
        self._claim_again = False
        self._setting_aside: set[int] = set()
        """Deliveries of damaged messages, until that is written down."""

    def start(self) -> None:
        self._writer.start()
        self._reader.start()
        if self._bell is not None and self._slots is not None:
            self._bell.listen(self._loop, self._claim)

    async def close(self) -> None:
        """Commit what was handed over, then let go of everything. Deliveries stay ours until then."""
        if self._bell is not None and self._slots is not None:
            self._bell.stop_listening(self._loop)
        await self._loop.run_in_executor(None, self._stop)

    def _stop(self) -> None:
        # The writer last: only a connection that may write tidies up the log when it is the last one.
        self._reader.stop()
        self._files.shutdown()
        self._writer.stop()
        if self._slots is not None:
            self._slots.close()
        self._usage.close()

    @property
    def node(self) -> int:
        """The 16 bits of this spool in every message id made for it."""
        return self.meta.node

    @property
    def incoming(self) -> Path:
        """Where bodies are received: on the same file system as ``bodies``."""
        return self._layout.incoming

    def body_path(self, message_id: MessageId) -> Path:
        """Name the final place of a large body: ``NewMessage.message.body.path``."""
        return self._layout.body(message_id)

    # Writing

    def append(self, *news: NewMessage) -> asyncio.Future[tuple[Delivery, ...] | Refused]:
        """Make the messages durable; see ``Spool.append``."""
        events: list[bytes] = []
        for new in news:
            _check(new, self._layout)
            if new.dropped_reason:
                outcome, at_ms = Dropped(new.dropped_reason), self._clock.now_ms()
                for recipient in new.recipients:
                    delivery = Delivery(0, new.message, recipient, 0, new.message.accepted_ms)
                    events += self._encode(Settlement(delivery, outcome, at_ms))
        future: asyncio.Future[tuple[Delivery, ...] | Refused] = self._loop.create_future()
        operation = Append(news, tuple([encode_envelope(new.message) for new in news]), events, future)
        self._freshness.appending(news)
        temporary = news[0].temporary_file
        if temporary is None:
            self._writer.put(operation)
        else:
            self._files.submit(self._append_with_file, operation, temporary)
        return future

    def _append_with_file(self, operation: Append, temporary: Path) -> None:
        """Put the body in place before the message joins a batch, so that a large one holds up nobody else."""
        paths = [new.message.body.path for new in operation.news if isinstance(new.message.body, BodyFile)]
        try:
            if operation.news[0].dropped_reason:
                temporary.unlink()
            else:
                bodies.keep(temporary, *paths)
        except OSError as error:
            # Not suspect: this file is thrown away as a whole, and nothing was acknowledged on top of it.
            _log.error("spool.body_failed", error=str(error))
            is_full = error.errno in NO_ROOM
            operation.answer = Refused(Reason.STORAGE_FULL if is_full else Reason.STORAGE_UNAVAILABLE)
            self._post(self._resolve, (operation,))
        else:
            self._writer.put(operation)

    def settle(self, settlement: Settlement) -> asyncio.Future[bool]:
        """Record an outcome with its events; see ``Spool.settle``."""
        future: asyncio.Future[bool] = self._loop.create_future()
        operation = Settle(settlement, self._encode(settlement), future)
        self._freshness.settling(settlement.delivery.row)
        self._writer.put(operation)
        return future

    def note(self, state: HopState) -> None:
        """Write down what became of a next hop; see ``Spool.note``."""
        with suppress(WriterStoppedError):
            self._writer.put(Note(state))

    def _post(self, call: Callable[..., None], *arguments: object) -> None:
        """Call on the loop, from a thread."""
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            # The loop is closed: nobody waits for the answer any more.
            _log.debug("spool.answer_unheard")

    def _resolve(self, batch: Sequence[Operation]) -> None:
        if self._bell is not None and self._slots is None and any(_has_queued(operation) for operation in batch):
            self._bell.ring()
        for operation in batch:
            match operation:
                case Append(answer=answer, future=future):
                    self._appended(operation, answer, heard=not future.done())
                case Settle(settlement=settlement):
                    self._freshness.settled(settlement.delivery.row)
                case Claim(answer=claimed, limit=limit):
                    self._claimed(claimed, limit)
                    continue
                case Note(error=error):
                    if error is not None:
                        _log.warning("spool.note_failed", error=str(error))
                    continue
                case SetAside(rows=rows):
                    # Not written: the next read finds them again.
                    self._setting_aside.difference_update(rows)
                    continue
            _finish(operation)

    def _appended(self, operation: Append, answer: tuple[Delivery, ...] | Refused | None, *, heard: bool) -> None:
        deliveries = () if answer is None or isinstance(answer, Refused) else answer
        self._freshness.appended(operation.news, deliveries)
        if deliveries and not heard:
            # Whoever asked was cancelled while the commit ran: the deliveries are ours all the same.
            self._changed(_change(ChangeKind.ADDED, [(each.row, each.recipient.destination) for each in deliveries]))
        elif operation.news[0].temporary_file is not None and not deliveries and not _is_kept(operation, answer):
            for new in operation.news:
                self._discard(new.message.body)

    def _discard(self, body: bytes | BodyFile) -> None:
        if isinstance(body, BodyFile):
            try:
                self._files.submit(body.path.unlink, missing_ok=True)
            except RuntimeError:
                # Closing: an orphan, swept at the next start.
                _log.debug("spool.orphan_left")

    # Reading

    async def destinations(self, after: str, limit: int) -> Sequence[DestinationDue]:
        """List what this worker owns; see ``Spool.destinations``."""
        return await self._reader.ask(
            lambda connection: queries.destinations(connection, self._owned(), after=after, limit=limit)
        )

    async def due(self, wanted: Sequence[Wanted], now_ms: int, limit: int, held: HeldSenders) -> Sequence[Found]:
        """Read what is due; see ``Spool.due``.

        Large messages make an answer shorter. What is appended while this runs is not in it: ``append`` hands it over.
        """
        with self._freshness.reading() as read:
            found, damaged = await self._reader.ask(
                partial(
                    queries.due,
                    owners=self._owned(),
                    wanted=wanted,
                    now_ms=now_ms,
                    limit=limit,
                    held=held,
                    bodies=self._layout.bodies,
                )
            )
            for each in damaged:
                self._set_aside(each)
            return [_fresh(each, read) for each in found]

    async def shut_hops(self) -> Sequence[ShutHop]:
        """Read what was noted last; see ``Spool.shut_hops``."""
        return await self._reader.ask(queries.shut_hops)

    def _set_aside(self, damaged: queries.Damaged) -> None:
        """See to it that what is not what was accepted is not read again, but kept for a person to look at."""
        rows = [row for row in damaged.rows if row not in self._setting_aside]
        if not rows:
            return
        _log.error("spool.message_damaged", message=message_id_text(damaged.message_id), deliveries=len(rows))
        self._setting_aside.update(rows)
        with suppress(WriterStoppedError):
            self._writer.put(SetAside(rows, DAMAGED, "4.3.0"))

    def _owned(self) -> tuple[int, ...]:
        return self._slots.owned if self._slots is not None else ()

    # What others do

    def _changed(self, change: SpoolChange) -> None:
        self._freshness.changed(change.rows)
        if self._on_change is not None:
            self._on_change(change)

    def _adopted(self, slots: tuple[int, ...]) -> None:
        _log.info("spool.adopted", slots=slots)
        for slot in slots:
            self.flights.absorb(self._layout.flights(slot))
        if self._on_adopted is not None:
            self._on_adopted()

    def _claim(self) -> None:
        if self._claiming:
            # What was appended since is perhaps not in what the one under way takes.
            self._claim_again = True
        elif self._slots is not None:
            self._claiming, self._claim_again = True, False
            with suppress(WriterStoppedError):
                self._writer.put(Claim(self._slots.first, CLAIM_MAX))

    def _claimed(self, rows: Sequence[tuple[int, str]], limit: int) -> None:
        self._claiming = False
        if rows:
            self._changed(_change(ChangeKind.ADDED, rows))
        if len(rows) == limit or self._claim_again:
            self._claim()

    def _reading_failed(self, error: Exception) -> None:
        """Judge an error in the reader's thread: reading may be where broken storage shows first."""
        # A message that does not decode is damage too: recovery leaves it behind and says so.
        if isinstance(error, SpoolSuspectError | msgspec.DecodeError) or fault_of(error) is Fault.SUSPECT:
            mark_suspect(self._layout, f"{type(error).__name__}: {error}")
            self._die()


def _has_queued(operation: Operation) -> bool:
    return isinstance(operation, Append) and isinstance(operation.answer, tuple) and bool(operation.answer)


def _fresh(found: Found, read: Read) -> Found:
    """Leave out what is not this read's to give; others may stand behind it."""
    fresh = read.fresh(found.deliveries)
    return found if len(fresh) == len(found.deliveries) else replace(found, deliveries=fresh, has_more=True)


def _is_kept(operation: Append, answer: tuple[Delivery, ...] | Refused | None) -> bool:
    """Whether it is in the spool though nothing is due: held from the start."""
    return operation.news[0].is_held and answer is not None and not isinstance(answer, Refused)


def _check(new: NewMessage, layout: Layout) -> None:
    """Refuse what would break the spool later: a mistake of the caller, so it hears of it at once."""
    body = new.message.body
    if isinstance(body, BodyFile) != (new.temporary_file is not None):
        message = "a body in a file comes with its temporary file, and only that"
        raise ValueError(message)
    if isinstance(body, BodyFile) and body.path.parent != layout.bodies:
        message = "a body file lies in the spool's own directory"
        raise ValueError(message)
    if len(new.recipients) >> RECIPIENT_BITS:
        message = "more recipients than a message can have"
        raise ValueError(message)


def _change(kind: ChangeKind, rows: Sequence[tuple[int, str]]) -> SpoolChange:
    return SpoolChange(kind, tuple(row for row, _ in rows), tuple({destination for _, destination in rows}))


def _finish(operation: Append | Settle) -> None:
    future: asyncio.Future[Any] = operation.future
    if future.done():
        return
    if operation.error is not None:
        future.set_exception(operation.error)
    elif operation.answer is not None:
        future.set_result(operation.answer)
