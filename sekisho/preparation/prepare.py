"""From a stored message and one recipient to the bytes that go out: personalise, sign, name the envelope sender.

A deterministic function of the stored message, the recipient and the signing keys in force, run when an attempt
starts; its result is never stored. Equal content (the same message with the same To) is signed once.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from sekisho.db import DatabaseUnavailable
from sekisho.domains import SigningDomain
from sekisho.ids import AccountId
from sekisho.ports.clock import Clock
from sekisho.preparation.model import NotNow, Prepared, Ready
from sekisho.preparation.personalize import header_for
from sekisho.preparation.signers import NotSignedError, Signers, Wish
from sekisho.preparation.verp import ReturnPaths
from sekisho.queue.model import Delivery, Dropped
from sekisho.secret import Secret

SIGNATURE_LIFE_S = 7 * 86_400
"""``x=``: longer than a message may stay in the next hop's queue (RFC 5321 §4.5.4.1: 4-5 days)."""

_SAME_ATTEMPT_S = 60
"""So long a signature serves further recipients of the same content."""

_KEPT_SIGNATURES = 256
"""Signed header blocks kept for further recipients of the same content; about 3 KiB each."""


class Domains(Protocol):
    """The signing domain of a sender, from the cache or the control database."""

    def cached(self, account_id: AccountId, subuser_id: AccountId | None, domain: str) -> SigningDomain | None:
        """The cached answer; None when it is not cached (or there is none)."""

    async def lookup(self, account_id: AccountId, subuser_id: AccountId | None, domain: str) -> SigningDomain | None:
        """The answer; raises when the control database cannot be read."""


@dataclass(frozen=True, slots=True, eq=False)
class _Signed:
    """One content, signed by the keys of one domain record."""

    domain: SigningDomain
    at_s: int
    header: asyncio.Future[bytes]
    """The whole block, signatures first."""


class SigningPreparer:
    """Prepares deliveries for the scheduler (``preparation.model.Preparer``)."""

    def __init__(
        self,
        *,
        domains: Domains,
        signers: Signers,
        hostname: str,
        verp_secret: Secret[bytes],
        clock: Clock,
        deleted: Callable[[], Collection[AccountId]],
    ) -> None:
        """``deleted`` tells the subusers whose queued mail is to be dropped."""
        self._loop = asyncio.get_running_loop()
        self._domains = domains
        self._signers = signers
        self._hostname = hostname
        self._return_paths = ReturnPaths(verp_secret)
        self._clock = clock
        self._deleted = deleted
        self._signed: OrderedDict[tuple[bytes, str], _Signed] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    def prepare(self, delivery: Delivery) -> asyncio.Future[Prepared]:
        """Begin; the future finishes on the loop."""
        message = delivery.message
        answer: asyncio.Future[Prepared] = self._loop.create_future()
        if message.subuser_id is not None and message.subuser_id in self._deleted():
            answer.set_result(Dropped("the subuser was deleted"))
            return answer
        domain = self._domains.cached(message.account_id, message.subuser_id, message.from_domain)
        if domain is not None:
            self._begin(delivery, domain, answer)
        else:
            self._spawn(self._look_up(delivery, answer))
        return answer

    def _begin(self, delivery: Delivery, domain: SigningDomain, answer: asyncio.Future[Prepared]) -> None:
        try:
            self._sign(delivery, domain, answer)
        except Exception as fault:  # noqa: BLE001  # ours, and this message's alone: whoever waits must hear of it
            answer.set_exception(fault)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work, name="preparation")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_up(self, delivery: Delivery, answer: asyncio.Future[Prepared]) -> None:
        message = delivery.message
        try:
            domain = await self._domains.lookup(message.account_id, message.subuser_id, message.from_domain)
        except DatabaseUnavailable:
            _finish(answer, NotNow("the control database cannot be read"))
            return
        except Exception as fault:  # noqa: BLE001  # the same
            answer.set_exception(fault)
            return
        if domain is None or not domain.signers:
            # Removed or lapsed while the message waited. Nothing leaves unsigned; a domain that comes back in time
            # lets the message go, otherwise it expires.
            _finish(answer, NotNow(f"{message.from_domain} is no longer an authenticated domain of this sender"))
            return
        self._begin(delivery, domain, answer)

    def _sign(self, delivery: Delivery, domain: SigningDomain, answer: asyncio.Future[Prepared]) -> None:
        message = delivery.message
        key = (message.id, delivery.recipient.personal_to)
        signed = self._signed.get(key)
        at_s = self._clock.now_ms() // 1000
        # Other keys in force since, or a later attempt, whose time ``t=`` tells: sign again.
        if signed is None or signed.domain is not domain or not 0 <= at_s - signed.at_s < _SAME_ATTEMPT_S:
            header = header_for(message.header, delivery.recipient.personal_to)
            signed = self._signed[key] = _Signed(domain, at_s, self._loop.create_future())
            if len(self._signed) > _KEPT_SIGNATURES:
                self._signed.popitem(last=False)
            self._signers.sign(
                Wish(header, message.body, domain.domain, domain.signers, at_s, at_s + SIGNATURE_LIFE_S),
                partial(_join, signed.header, header),
            )
        signed.header.add_done_callback(partial(self._ready, delivery, domain, answer))

    def _ready(
        self, delivery: Delivery, domain: SigningDomain, answer: asyncio.Future[Prepared], header: asyncio.Future[bytes]
    ) -> None:
        message = delivery.message
        if (fault := header.exception()) is not None:
            self._signed.pop((message.id, delivery.recipient.personal_to), None)
            if not answer.done():
                answer.set_exception(fault)
            return
        host = domain.return_path_host or self._hostname
        _finish(
            answer,
            Ready(
                self._return_paths.own(message.id, delivery.recipient.index, host),
                self._return_paths.shared(message.id, host),
                header.result(),
                message.body,
                message.eight_bit,
            ),
        )


def _finish(answer: asyncio.Future[Prepared], prepared: Prepared) -> None:
    if not answer.done():
        answer.set_result(prepared)


def _join(future: asyncio.Future[bytes], header: bytes, fields: bytes | NotSignedError) -> None:
    """The signatures came: they go in front of the header."""
    if isinstance(fields, NotSignedError):
        future.set_exception(fields)
    else:
        future.set_result(fields + header)
