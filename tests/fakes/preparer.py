"""A preparer that signs nothing: what the scheduler sees of preparation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sekisho.preparation.model import Prepared, Ready
from sekisho.queue.model import Delivery


def plain(delivery: Delivery) -> Prepared:
    """The message as it is, with an envelope sender of its own."""
    message = delivery.message
    number = int.from_bytes(message.id, "big")
    return Ready(
        mail_from=f"bounces+{number}.{delivery.recipient.index}@relay.test",
        shared_mail_from=f"bounces+{number}@relay.test",
        header=b"DKIM-Signature: x\r\n" + message.header,
        body=message.body,
        eight_bit=message.eight_bit,
    )


class FakePreparer:
    """Answers one turn of the loop later, as threads would; or at once."""

    def __init__(self, answer: Callable[[Delivery], Prepared] = plain, *, at_once: bool = False) -> None:
        self.answer = answer
        self.at_once = at_once
        self.asked = 0

    def prepare(self, delivery: Delivery) -> asyncio.Future[Prepared]:
        self.asked += 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Prepared] = loop.create_future()
        if self.at_once:
            self._finish(delivery, future)
        else:
            loop.call_soon(self._finish, delivery, future)
        return future

    def _finish(self, delivery: Delivery, future: asyncio.Future[Prepared]) -> None:
        try:
            future.set_result(self.answer(delivery))
        except Exception as error:  # noqa: BLE001  # a test's own
            future.set_exception(error)
