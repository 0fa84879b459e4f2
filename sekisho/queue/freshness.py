"""What a read of the spool must leave out, because it is being written or was written while the read was under way.

The reader sees the spool as it was at some moment between question and answer. A delivery that was appended, settled or
changed around that moment belongs to whoever did that: handing it out a second time would send the mail twice. All of
this happens on the loop; it costs one set operation per message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from sekisho.ids import MessageId
from sekisho.queue.model import Delivery, NewMessage


class Read:
    """One read under way."""

    def __init__(self, touched: Iterable[int], appending: set[MessageId]) -> None:
        self.touched = set(touched)
        self._appending = appending

    def fresh(self, found: Sequence[Delivery]) -> Sequence[Delivery]:
        """Leave out of an answer what is not its to give; ``touched`` names all of that afterwards."""
        # Committed, but the loop has not heard of it yet: append is about to hand it over.
        self.touched.update(delivery.row for delivery in found if delivery.message.id in self._appending)
        if not self.touched:
            return found
        return tuple(delivery for delivery in found if delivery.row not in self.touched)


class Freshness:
    """Told of every append and settlement when it begins and when the loop hears of its end."""

    def __init__(self) -> None:
        self._appending: set[MessageId] = set()
        self._settling: set[int] = set()
        self._reads: list[Read] = []

    def appending(self, news: Sequence[NewMessage]) -> None:
        for new in news:
            self._appending.add(new.message.id)

    def appended(self, news: Sequence[NewMessage], deliveries: Sequence[Delivery]) -> None:
        for new in news:
            self._appending.discard(new.message.id)
        if self._reads:
            self.changed([delivery.row for delivery in deliveries])

    def settling(self, row: int) -> None:
        self._settling.add(row)

    def settled(self, row: int) -> None:
        self._settling.discard(row)
        self.changed((row,))

    def changed(self, rows: Iterable[int]) -> None:
        """Note what others did."""
        for read in self._reads:
            read.touched.update(rows)

    @contextmanager
    def reading(self) -> Iterator[Read]:
        """Watch over a read, from before the question to the answer."""
        read = Read(self._settling, self._appending)
        self._reads.append(read)
        try:
            yield read
        finally:
            self._reads.remove(read)
