"""One connection to a next hop: drives a ClientSession over a transport, job after job.

The hot path is synchronous: received bytes go through the session, the next prepared job is pulled from the feed,
and everything to be said leaves in one write. There is no task and no timer per message: a sweep looks at
``deadline`` once a second.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from sekisho.delivery.dialling import said
from sekisho.delivery.job import Job
from sekisho.delivery.site import Hop
from sekisho.delivery.tls import AuthoritiesError, Level, Protection, TlsContexts
from sekisho.delivery.verdict import Temporary, Verdict, of_answer, of_failure
from sekisho.preparation.model import Ready
from sekisho.queue import bodies
from sekisho.queue.bodies import BodyDamagedError
from sekisho.queue.model import BodyFile, Bounced, BounceType, Classification, Delivery, Remote
from sekisho.wire.smtp.client import ClientSession, checked
from sekisho.wire.smtp.dialogue import (
    Envelope,
    Event,
    Failed,
    Failure,
    FailureKind,
    Finished,
    Idle,
    Quit,
    SendContent,
    StartTls,
)
from sekisho.wire.smtp.stuffing import DotStuffer

_log = structlog.get_logger(__name__)

LINE_MAX = 998
"""RFC 5322 §2.1.1, without CRLF."""
_PIECE_BYTES = 256 * 1024
_RETURNS_MAX = 3


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How many connections to one next hop, for how much, and how long each step may take as a whole.

    RFC 5321 §4.5.3.2 gives minutes for each; ours are a little shorter where a host that slow is of no use.
    """

    connections: int = 8
    deliveries: int = 1000
    """Per connection; 0 = no limit."""
    connect_s: float = 30
    """One address; and finding out the addresses."""
    opening_s: float = 60
    """From the connection to the first transaction: greeting, EHLO, TLS, AUTH."""
    reach_s: float = 300
    """All addresses of a next hop, until one is open."""
    envelope_s: float = 120
    """MAIL to 354, whether as a group or step by step; RECIPIENT_S more for each recipient."""
    content_s: float = 600
    """The content and the answer to it."""
    idle_s: float = 30
    """An idle connection is kept for so long."""
    session_s: float = 300
    """No transaction begins on a connection that is this old: load moves to where it belongs, as with Postfix."""
    quit_s: float = 5


RECIPIENT_S = 3.0
"""More time for each recipient: some hosts look each one up, and some make it slow on purpose."""


class Owner(Protocol):
    """Whom a connection works for."""

    def pull(self) -> Job | None: ...

    def give_back(self, job: Job) -> None: ...

    def conclude(self, delivery: Delivery, verdict: Verdict) -> None: ...

    def finished(self, job: Job, *, served: bool) -> None:
        """A pulled job is concluded. ``served``: the host answered it, whatever the answer."""

    def opened(self, connection: Connection) -> None:
        """The host is ready for transactions; called once."""

    def rested(self, connection: Connection) -> None:
        """Nothing to do: ``serve`` when there is."""

    def ended(self, connection: Connection, failure: Failure | None) -> None:
        """It is over, whether or not it was ever open; None: it ended with QUIT."""

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run a coroutine that belongs to this connection."""


class Connection(asyncio.Protocol):
    """One connection, from its first byte to its last."""

    def __init__(
        self,
        session: ClientSession[Job],
        hop: Hop,
        protection: Protection,
        owner: Owner,
        limits: ConnectionLimits,
        *,
        contexts: TlsContexts,
        verp: bool,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """``verp``: each message has an envelope sender of its own for each recipient."""
        self._session = session
        self._protection = protection
        self._owner = owner
        self._limits = limits
        self._contexts = contexts
        self._verp = verp
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._remote = Remote(host=hop.host, ip=hop.address)
        self._failure: Failure | None = None
        self._content_of: Job | None = None
        self._upgrading = False
        self._last = False  # nothing more is begun
        self._over = False
        self._proven = False  # the host has answered a transaction, or let us rest
        self._writable = asyncio.Event()
        self._writable.set()
        self.taken = 0
        """Deliveries whose envelope was sent."""
        self.served = 0
        """Transactions that the host has answered."""
        self.hop = hop
        self.is_open = False
        self.opening: asyncio.Future[Failure | None] = loop.create_future()
        """Done as soon as it is open (None) or will never be."""
        self.deadline = loop.time() + limits.opening_s
        self.ends_at = loop.time() + limits.session_s
        """Nothing is begun after this."""

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # a stream's transport is one
        if self._over:  # given up during an implicit handshake
            transport.abort()  # type: ignore[attr-defined]  # the same
            return
        if self._protection.implicit:
            self._session.tls_started()
        self._see_remote()

    def data_received(self, data: bytes) -> None:
        self._handle(self._session.receive(data))

    def connection_lost(self, error: Exception | None) -> None:
        if self._upgrading:
            return  # the handshake's own error says more
        if error is None or not isinstance(error, OSError):
            self._handle(self._session.closed())
        else:
            self._handle(self._session.closed(Failure(FailureKind.CLOSED, f"connection lost: {said(error)}")))
        self._end()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # The owner's side.

    def serve(self) -> None:
        """There may be something to do for a connection at rest."""
        self._next()
        self._flush()

    def expire(self) -> None:
        """``deadline`` has passed."""
        if self._session.is_idle:
            self.quit()
        elif self._upgrading:
            self.give_up(Failure(FailureKind.TLS, "TLS handshake failed: the host took too long"))
        else:
            self.give_up(Failure(FailureKind.TIMEOUT, "the host took too long"))

    def begin_no_more(self) -> None:
        """``ends_at`` has passed: finish what is under way, then say good-bye."""
        self._last = True
        if self._session.is_idle:
            self.quit()

    def quit(self) -> None:
        """Say good-bye if at rest; the connection ends soon in any case."""
        self._session.quit()
        self.deadline = self._loop.time() + self._limits.quit_s
        self._flush()

    def give_up(self, failure: Failure) -> None:
        """Cut the connection; what is open ends with this failure."""
        self._handle(self._session.closed(failure))
        self._end()

    def abandon(self) -> None:
        """Cut the connection and settle nothing."""
        self._over = True
        self._writable.set()
        self._opening_is(_CUT)
        if self._transport is not None:
            self._transport.abort()

    # The session's side.

    def _handle(self, events: list[Event[Job]]) -> None:
        if self._over:
            return
        for event in events:
            match event:
                case SendContent(tag=job):
                    self._send(job)
                case Finished():
                    self._finish(event)
                case Idle():
                    if not self.is_open:
                        self.is_open = True
                        self._opening_is(None)
                        self._owner.opened(self)
                    self._next()
                case StartTls():
                    self._start_tls()
                case Failed(failure=failure):
                    self._failure = failure
                case Quit():
                    pass
        self._flush()
        if self._session.is_over:
            self._end()

    def _flush(self) -> None:
        data = self._session.output()
        if data and self._transport is not None and not self._over:
            self._transport.write(data)

    def _next(self) -> None:
        """Begin the next job if the session and our own limit allow one; rest if there is none."""
        while self._session.can_begin:
            limit = self._limits.deliveries
            if self._last or (limit and self.taken >= limit):
                if self._content_of is None:
                    self.quit()
                return
            job = self._owner.pull()
            if job is None:
                if self._content_of is None:
                    self.deadline = self._loop.time() + self._limits.idle_s
                    self._proven = True
                    self._owner.rested(self)
                return
            self._begin(job)

    def _begin(self, job: Job) -> None:
        ready = job.ready
        if ready is None or not is_sound(ready.header):
            _log.error("delivery.unsound_header", row=job.deliveries[0].row)
            self._conclude_all(job, _UNSOUND)
            return
        mail_from = ready.mail_from if self._verp else ready.shared_mail_from
        recipients = tuple(delivery.recipient.address for delivery in job.deliveries)
        envelope = Envelope(mail_from, recipients, _size(ready), ready.eight_bit)
        objection = self._session.objection(envelope)
        if objection is not None:
            self._conclude_all(job, of_answer(objection, self._remote))
            return
        try:
            self._session.begin(envelope, job)
        except ValueError:
            self._conclude_unsayable(job)
            return
        self.taken += len(recipients)
        if self._content_of is None:
            self.deadline = self._loop.time() + self._envelope_s(job)

    def _envelope_s(self, job: Job) -> float:
        return self._limits.envelope_s + RECIPIENT_S * len(job.deliveries)

    def _send(self, job: Job) -> None:
        ready = job.ready
        if ready is None or self._session.is_over:
            return
        self._content_of = job
        self.deadline = self._loop.time() + self._limits.content_s
        if isinstance(ready.body, BodyFile):
            self._owner.spawn(self._stream(ready.header, ready.body), f"content to {self.hop.host}")
        else:
            self._session.send_content(ready.header, ready.body)
            self._next()

    async def _stream(self, header: bytes, body: BodyFile) -> None:
        """Send content that is not in memory, as fast as the host takes it."""
        stuffer = DotStuffer()
        try:
            # Opened and closed here: what a thread opened for a task that is cancelled meanwhile, nobody would close.
            with bodies.reading(body) as file:
                piece = header + b"\r\n"
                while piece:
                    if self._over or self._session.is_over or self._transport is None:
                        return
                    self._transport.write(stuffer.feed(piece))
                    await self._writable.wait()
                    piece = await asyncio.to_thread(file.read, _PIECE_BYTES)
        except (OSError, BodyDamagedError) as error:
            # The end mark must not follow: half a message would be accepted as a whole one.
            _log.error("delivery.body_unreadable", error=said(error))
            self.give_up(Failure(FailureKind.OURS, "stored content can't be read"))
            return
        if self._over or self._session.is_over or self._transport is None:
            return
        self._transport.write(stuffer.end())
        self._session.content_sent()
        self._next()
        self._flush()

    def _finish(self, event: Finished[Job]) -> None:
        job = event.tag
        failure = self._failure
        if job is self._content_of:
            self._content_of = None
        elif failure is not None and failure.kind is FailureKind.OURS:
            failure = _CUT  # the fault was with the one before it
        # A host that closes between two messages has refused neither: the second goes over another connection.
        if failure is not None and not event.heard and self._proven and job.returns < _RETURNS_MAX:
            self._owner.give_back(job)
            return
        shared = len(job.deliveries) > 1
        for delivery, answer in zip(job.deliveries, event.answers, strict=True):
            if answer is not None:
                self._owner.conclude(delivery, of_answer(answer, self._remote, shared=shared))
            else:
                self._owner.conclude(delivery, of_failure(failure or _CUT, self._remote))
        if failure is None:
            self.served += 1
            self._proven = True
            self.deadline = self._loop.time() + self._envelope_s(job)  # of the one behind it, if any
        self._owner.finished(job, served=failure is None)

    def _conclude_all(self, job: Job, verdict: Verdict) -> None:
        for delivery in job.deliveries:
            self._owner.conclude(delivery, verdict)
        self._owner.finished(job, served=False)

    def _conclude_unsayable(self, job: Job) -> None:
        """An address can't be written into a command: the last guard; doors refuse such addresses."""
        for delivery in job.deliveries:
            try:
                checked(delivery.recipient.address)
            except ValueError:
                verdict: Verdict = Bounced(
                    "5.1.3 the address can't be sent",
                    BounceType.BOUNCE,
                    "5.1.3",
                    self._remote,
                    Classification.INVALID_ADDRESS,
                )
            else:
                verdict = Temporary("4.3.5 another address of the envelope can't be sent", "4.3.5", self._remote)
            self._owner.conclude(delivery, verdict)
        self._owner.finished(job, served=False)

    # TLS.

    def _start_tls(self) -> None:
        if self._transport is None:
            return
        self._upgrading = True
        self._transport.pause_reading()
        self._owner.spawn(self._upgrade(self._transport), f"TLS with {self.hop.host}")

    async def _upgrade(self, plain: asyncio.Transport) -> None:
        try:
            context = await self._contexts.get(self._protection.level)
            if self._over:
                return
            secured = await self._loop.start_tls(
                plain,
                self,
                context,
                server_hostname=self.hop.host,
                ssl_handshake_timeout=max(1.0, self.deadline - self._loop.time()),
            )
        except (OSError, ValueError) as error:  # ValueError: a name that no certificate can have
            self._upgrading = False
            self.give_up(handshake_failure(error))
            return
        self._upgrading = False
        self._transport = secured
        if secured is None or secured.is_closing():
            self.give_up(Failure(FailureKind.TLS, "TLS handshake failed: the host closed the connection"))
            return
        self._see_remote()
        self._session.tls_started()
        self._flush()

    def _see_remote(self) -> None:
        transport = self._transport
        if transport is None:
            return
        peer, here = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        secured = transport.get_extra_info("ssl_object")
        cipher = secured.cipher() if secured is not None else None
        self._remote = Remote(
            host=self.hop.host,
            ip=peer[0] if peer else self.hop.address,
            local_ip=here[0] if here else "",
            tls_version=(secured.version() or "") if secured is not None else "",
            tls_cipher=cipher[0] if cipher else "",
            tls_verified=secured is not None and self._protection.level is Level.VERIFIED,
        )

    @property
    def remote(self) -> Remote:
        """The other end, as far as it is known."""
        return self._remote

    def _end(self) -> None:
        if self._over:
            return
        self._over = True
        self._writable.set()
        if self._transport is not None:
            if self._failure is None:
                self._transport.close()
            else:
                self._transport.abort()
        self._opening_is(self._failure or _CUT)
        self._owner.ended(self, self._failure)

    def _opening_is(self, outcome: Failure | None) -> None:
        if not self.opening.done():
            self.opening.set_result(outcome)


_UNSOUND = Temporary("4.3.5 the prepared header is not fit to be sent", "4.3.5", is_fault=True)
_CUT = Failure(FailureKind.CLOSED, "the connection was cut")


def handshake_failure(error: Exception) -> Failure:
    """Tell a certificate that we do not accept from all other trouble with TLS."""
    is_certificate = isinstance(error, ssl.SSLCertVerificationError | AuthoritiesError)
    kind = FailureKind.CERTIFICATE if is_certificate else FailureKind.TLS
    return Failure(kind, f"TLS handshake failed: {said(error)}")


def _size(ready: Ready) -> int:
    body = ready.body
    return len(ready.header) + 2 + (body.size_bytes if isinstance(body, BodyFile) else len(body))


def is_sound(header: bytes) -> bool:
    """Whole lines of at most 998 octets, CRLF only, no NUL, no empty line: the last look before it leaves.

    Bodies were judged line by line when they came in and are not changed afterwards; headers are composed.
    """
    lines = header.split(b"\r\n")
    return (
        not lines.pop()
        and min(lengths := [*map(len, lines)], default=1) > 0
        and max(lengths, default=0) <= LINE_MAX
        and header.count(b"\n") == header.count(b"\r") == len(lines)
        and b"\0" not in header
    )
