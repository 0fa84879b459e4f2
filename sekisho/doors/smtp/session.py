"""Pump one ServerSession: bytes from the transport in, its questions answered by the gate, replies out in one write.

What the gate answers at once (MAIL, RCPT) needs no task; logging in, handing a message over and TLS do. Reading stops
while a large body is being written, while session memory is spent, while the peer does not take its replies, and
while it sends on behind an unanswered question: never a growing list. Deadlines are plain numbers here; the
listener's sweeper looks at them once a second.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, cast

import structlog

from sekisho.doors.smtp import replies
from sekisho.doors.smtp.admission import Admission
from sekisho.doors.smtp.bounds import Limits
from sekisho.doors.smtp.line import SessionLine, date_text
from sekisho.doors.smtp.memory import SessionMemory
from sekisho.doors.smtp.replies import Stage
from sekisho.doors.smtp.spill import BodySpill
from sekisho.identity import Identity, IPAddress
from sekisho.ports.clock import Clock
from sekisho.queue.faults import NO_ROOM
from sekisho.queue.model import BodyFile
from sekisho.refusal import Reason, Refused
from sekisho.secret import Secret
from sekisho.submission import Accepted, Submission
from sekisho.wire.mail.address import Mailbox
from sekisho.wire.smtp.framing import Content
from sekisho.wire.smtp.grammar import Mail
from sekisho.wire.smtp.reply import Reply
from sekisho.wire.smtp.sasl import Credentials
from sekisho.wire.smtp.server import (
    Closed,
    ContentRefused,
    Event,
    Recipient,
    ServerSession,
    SessionLimits,
    StartTls,
    State,
)

log = structlog.get_logger()

NEVER: Final = float("inf")


def tls_failure(error: OSError) -> str:
    """Name what went wrong in a handshake, for the log."""
    return f"TLS: {getattr(error, 'reason', None) or type(error).__name__}"


class Gate(Protocol):
    """The decisions behind the door. The synchronous ones answer from memory; none raises for what a client did."""

    async def authenticate(
        self, username: bytes, password: Secret[bytes], address: IPAddress
    ) -> Identity | Refused: ...

    def admits(self, identity: Identity) -> Refused | None:
        """Is this pass still good? Asked at every MAIL, RCPT and end of content."""

    def recipient(self, identity: Identity, recipient: Mailbox, already: int) -> Refused | None: ...

    async def accept(self, submission: Submission) -> Accepted | Refused:
        """Returns after the commit."""


@dataclass(slots=True)
class Premises:
    """What all sessions of a listener share. The listener alone changes it; sessions read."""

    hostname: str
    gate: Gate
    admission: Admission
    memory: SessionMemory
    clock: Clock
    spill_directory: Path
    limits: Limits
    session_limits: SessionLimits
    tls: ssl.SSLContext
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    """Runs a task that the listener owns and waits for."""
    over: Callable[[Connection], None]
    """A connection is gone."""
    now_s: float
    """Monotonic, at most a second old: deadlines need no better, and a session pays nothing for it."""


# Why reading is paused: bits, as enum.Flag costs a microsecond at each look.
_SPILL: Final = 1
_MEMORY: Final = 2
_OUTPUT: Final = 4
_QUESTION: Final = 8


class Connection(asyncio.Protocol):
    """One client, from accept to close."""

    def __init__(self, premises: Premises, address: IPAddress) -> None:
        """``address`` was admitted: it is given back when the connection is over."""
        self._premises = premises
        self.address = address
        self._transport: asyncio.Transport | None = None
        self._core: ServerSession | None = None
        self._hold = 0
        self._partial_since_s = NEVER
        self._content_since_s = NEVER
        self._content_bytes = 0
        self._clogged_until_s = NEVER
        self._paused_s = 0.0
        self._outside_bytes = 0  # held for the peer, but no longer by the core
        self._spill: BodySpill | None = None
        self._spill_count = 0
        self._mail_from = ""
        self._recipients: list[str] = []
        self._recipients_bytes = 0
        self._id = secrets.token_hex(8)
        self._line = SessionLine()
        self._is_shaking = False
        self._early = b""
        self._nap: asyncio.Future[None] | None = None
        self._is_over = False
        self.identity: Identity | None = None
        self.deadline_s = NEVER
        self.connected_s = premises.clock.monotonic()

    # asyncio.Protocol

    @property
    def has_begun(self) -> bool:
        return self._core is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """With implicit TLS: when the handshake is done."""
        self._transport = cast("asyncio.Transport", transport)
        self._core = ServerSession(
            self._premises.hostname, self._premises.session_limits, tls=self._note_tls(self._transport)
        )
        self._pump()

    def data_received(self, data: bytes) -> None:
        if self._is_shaking:
            # Decrypted already: asyncio's loop, unlike uvloop, hands over what came with the end of the handshake
            # before start_tls returns. Clear text cannot come here, the transport is not ours at this time.
            self._early += data
        elif self._core is not None:
            self._line.received_bytes += len(data)
            self._content_bytes += len(data)
            self._core.receive(data)
            self._pump()

    def pause_writing(self) -> None:
        self._set_hold(_OUTPUT, on=True)
        self._clogged_until_s = self.deadline_s = self._premises.now_s + self._premises.limits.command_s

    def resume_writing(self) -> None:
        self._set_hold(_OUTPUT, on=False)
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        self.over("hung up" if exc is None else "connection lost")

    def over(self, why: str) -> None:
        """Give everything back, once; ``why`` counts if nothing better is known."""
        if self._is_over:
            return
        self._is_over = True
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
        premises = self._premises
        premises.memory.forget(self)
        premises.admission.disconnect(self.address)
        if self.identity is not None:
            premises.admission.leave(self.identity.key_id)
        self._drop_spill()
        self._wake()
        self._line.ended = self._line.ended or why
        self._write_line()
        premises.over(self)

    def _write_line(self) -> None:
        line, core = self._line, self._core
        line.write(
            session=self._id,
            peer=str(self.address),
            hello="" if core is None else core.client_name,
            identity=self.identity,
            duration_s=self._premises.clock.monotonic() - self.connected_s,
        )

    # What the listener does.

    def check(self) -> None:
        """Called by the sweeper when the deadline has passed."""
        transport, core = self._transport, self._core
        if transport is None:
            return
        if core is None or core.state in (State.TLS, State.CLOSED) or transport.is_closing():
            self._line.ended = self._line.ended or "handshake timeout"
            transport.abort()
            return
        if self._hold & _OUTPUT:
            self._line.ended = "replies not read"
            transport.abort()
            return
        if self._hold & _MEMORY:
            core.abort(replies.NO_MEMORY, "no session memory")
        elif core.state is State.CONTENT and self._premises.now_s < self._content_deadline_s():
            self.deadline_s = self._content_deadline_s()
            return
        else:
            core.abort(replies.TIMEOUT, "timeout")
        self._pump()

    def end(self, reply: Reply, *, at_once: bool, why: str) -> None:
        """End by ``reply``: ``at_once`` between transactions, else at the next command."""
        if self._core is None or self._core.state is State.TLS:
            self._line.ended = why
            self.abort()
            return
        self._core.end(reply, at_once=at_once, why=why)
        self._pump()

    def abort(self) -> None:
        """Cut."""
        self._line.ended = self._line.ended or "stopped"
        if self._transport is not None:
            self._transport.abort()

    def proceed(self) -> None:
        """There is session memory again."""
        if self._hold & _MEMORY:
            # The pause was ours: it does not count against the peer.
            self._content_since_s += self._premises.now_s - self._paused_s
            self.deadline_s = self._content_deadline_s()
            self._set_hold(_MEMORY, on=False)

    # The dialogue.

    def _pump(self) -> None:
        core, transport = self._core, self._transport
        if core is None or transport is None or transport.is_closing():
            return
        try:
            while (event := core.next_event()) is not None:
                self._heard(core, event)
        except Exception:
            # Ours; what the session stands in is not known any more, so it ends.
            log.exception("session failed", session=self._id)
            core.abort(replies.OUR_FAULT_CLOSING, "our fault")
            core.next_event()
            self._line.ended = "our fault"
        output = core.take_output()
        if output:
            self._partial_since_s = NEVER
            transport.write(output)
        if core.state is State.CLOSED:
            self._close()
        elif core.state is not State.TLS:
            self._look_after()

    def _heard(self, core: ServerSession, event: Event) -> None:
        match event:
            case Mail(path):
                reply = self._admitted() or replies.SENDER_OK
                self._mail_from = path
                self._recipients = []
                self._recipients_bytes = 0
                self._answer(reply)
            case Recipient(mailbox, already):
                self._answer(self._admitted() or self._judge_recipient(mailbox, already))
            case Content():
                self._content_since_s = NEVER
                self._hand_in(event)
            case ContentRefused(fault):
                self._content_since_s = NEVER
                self._line.refuse(fault.name.lower())
                self._drop_spill()
            case Credentials(username, password):
                self._premises.spawn(self._log_in(username, Secret(password)))
            case StartTls():
                if self._transport is not None:
                    self._transport.write(core.take_output())
                    self._start_tls()
            case Closed(why):
                self._line.ended = why

    def _answer(self, reply: Reply, *, close: bool = False) -> None:
        if self._core is not None:
            self._core.answer(reply, close=close)

    def _refusal(self, refused: Refused, stage: Stage = Stage.ENVELOPE) -> Reply:
        self._line.refuse(refused.reason.value)
        return replies.to_smtp(refused, stage)

    def _admitted(self) -> Reply | None:
        """None: go on."""
        if self.identity is None:
            return self._refusal(Refused(Reason.AUTH_REQUIRED))
        refused = self._premises.gate.admits(self.identity)
        return None if refused is None else self._refusal(refused)

    def _judge_recipient(self, mailbox: Mailbox, already: int) -> Reply:
        if self.identity is None:
            return self._refusal(Refused(Reason.AUTH_REQUIRED))
        refused = self._premises.gate.recipient(self.identity, mailbox, already)
        if refused is not None:
            return self._refusal(refused)
        address = str(mailbox)
        self._recipients.append(address)
        self._recipients_bytes += len(address)
        return replies.RECIPIENT_OK

    async def _log_in(self, username: bytes, password: Secret[bytes]) -> None:
        premises, address = self._premises, self.address
        began_s = premises.clock.monotonic()
        try:
            async with asyncio.timeout(premises.limits.login_check_s):
                found = await premises.gate.authenticate(username, password, address)
        except TimeoutError:
            found = Refused(Reason.AUTH_UNAVAILABLE)
        except Exception:
            log.exception("login failed by our fault", session=self._id)
            found = Refused(Reason.AUTH_UNAVAILABLE)
        if isinstance(found, Refused):
            if found.reason is not Reason.AUTH_UNAVAILABLE:
                found = await self._slow_down(found, address, began_s)
            self._line.refuse(found.reason.value)
            self._answer(replies.to_smtp(found, Stage.AUTH), close=replies.closes(found, Stage.AUTH))
        elif self._transport is not None:
            self._let_in(found)
        self._pump()

    async def _slow_down(self, refused: Refused, address: IPAddress, began_s: float) -> Refused:
        """Wait until the answer says nothing by its time; give what is to be answered."""
        admission, clock = self._premises.admission, self._premises.clock
        failures = admission.failed(address, clock.monotonic())
        if failures > self._premises.limits.failures:
            # The check was made all the same: a good key from a shared address never comes here.
            refused = Refused(Reason.AUTH_THROTTLED)
        await self._wait(began_s + admission.delay_ms(failures) / 1000 - clock.monotonic())
        return refused

    async def _wait(self, delay_s: float) -> None:
        """Wait, but no longer than the client does."""
        self._nap = asyncio.get_running_loop().create_future()
        timer = asyncio.get_running_loop().call_later(max(delay_s, 0), self._wake)
        await self._nap
        timer.cancel()

    def _wake(self) -> None:
        if self._nap is not None and not self._nap.done():
            self._nap.set_result(None)

    def _let_in(self, identity: Identity) -> None:
        if not self._premises.admission.enter(identity.key_id):
            self._line.refuse("connections of key")
            self._answer(replies.TOO_MANY_CONNECTIONS)
            return
        self.identity = identity
        self._answer(replies.AUTHENTICATED)

    # Messages.

    def _hand_in(self, content: Content) -> None:
        """The end of the content was read: judge what can be judged at once, hand over the rest."""
        spill, self._spill = self._spill, None
        refused = self._admitted()
        if refused is not None:
            if spill is not None:
                self._premises.spawn(spill.discard())
            self._answer(refused)
            return
        self._outside_bytes += len(content.header) + len(content.body)
        self._premises.spawn(self._submit(content, spill))

    async def _submit(self, content: Content, spill: BodySpill | None) -> None:
        identity = self.identity
        if identity is None:  # pragma: no cover - content needs a login
            return
        body: bytes | BodyFile = content.body
        file: BodyFile | None = None
        result: Accepted | Refused
        try:
            if spill is not None:
                await spill.write(content.body)
                file = await spill.finish()
                if spill.error is not None:
                    log.error("smtp.body_not_written", session=self._id, error=str(spill.error))
            if spill is not None and file is None:
                is_full = spill.error is not None and spill.error.errno in NO_ROOM
                result = Refused(Reason.STORAGE_FULL if is_full else Reason.STORAGE_UNAVAILABLE)
            else:
                if file is not None:
                    body = file
                result = await self._premises.gate.accept(
                    Submission(
                        identity,
                        self._mail_from,
                        tuple(self._recipients),
                        content.header,
                        body,
                        self._trace(),
                        content.eight_bit,
                        address=self.address,
                    )
                )
        except Exception:
            log.exception("message not taken by our fault", session=self._id)
            result = Refused(Reason.STORAGE_UNAVAILABLE)
        if spill is not None and isinstance(result, Refused):
            await spill.discard()
        if isinstance(result, Accepted):
            self._line.messages += 1
            self._line.recipients += len(self._recipients)
            reply = replies.queued(result.message_id)
        else:
            reply = self._refusal(result, Stage.CONTENT)
        self._outside_bytes -= len(content.header) + len(content.body)
        self._answer(reply)
        self._pump()

    def _trace(self) -> bytes:
        """Make our Received field (RFC 5321 §4.4). As the vendor's, it hides the client's address."""
        number = self._line.messages + 1
        name = "" if self._core is None else self._core.client_name
        return (
            f"Received: from {name} (unknown)\r\n"
            f"\tby {self._premises.hostname} (Sekisho) with ESMTPSA id {self._id}.{number};\r\n"
            f"\t{date_text(self._premises.clock.now_ms() // 1000)}\r\n"
        ).encode("ascii", "replace")

    def _start_spilling(self, core: ServerSession) -> None:
        if self._spill is None:
            self._spill_count += 1
            self._spill = BodySpill(self._premises.spill_directory, f"{self._id}-{self._spill_count}")
        self._set_hold(_SPILL, on=True)
        part = core.take_body()
        self._outside_bytes += len(part)
        self._premises.spawn(self._write_part(self._spill, part))

    async def _write_part(self, spill: BodySpill, part: bytes) -> None:
        await spill.write(part)
        self._outside_bytes -= len(part)
        self._set_hold(_SPILL, on=False)
        self._look_after()

    def _drop_spill(self) -> None:
        spill, self._spill = self._spill, None
        if spill is not None:
            self._premises.spawn(spill.discard())

    # TLS.

    def _start_tls(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()
            self.deadline_s = self._premises.now_s + self._premises.limits.handshake_s
            self._premises.spawn(self._handshake(self._transport))

    async def _handshake(self, transport: asyncio.Transport) -> None:
        if self._transport is None or transport.is_closing():  # hung up or cut before this task ran
            transport.abort()
            self.over("TLS: not begun")
            return
        self._is_shaking = True
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                self,
                self._premises.tls,
                server_side=True,
                # The sweeper is first; this only bounds what it cannot see.
                ssl_handshake_timeout=self._premises.limits.handshake_s + 5,
                ssl_shutdown_timeout=self._premises.limits.linger_s,
            )
        except OSError as error:  # ssl.SSLError is one; all are the peer's doing
            transport.abort()
            # The transport belonged to the handshake: nobody else tells us that it is gone.
            self.over(tls_failure(error))
            return
        finally:
            self._is_shaking = False
        # A transport that was aborted meanwhile is handed out too, by both kinds of loop, but with no TLS in it.
        if secured is None or secured.is_closing() or not self._note_tls(secured) or self._is_over:
            transport.abort()
            self.over("TLS: not finished")
            return
        self._transport = secured
        if self._core is not None:
            self._core.tls_started()
            early, self._early = self._early, b""
            if early:
                self._core.receive(early)
            self._pump()

    def _note_tls(self, transport: asyncio.Transport) -> bool:
        """Remember what was agreed; False: nothing was."""
        secure = transport.get_extra_info("ssl_object")
        cipher = None if secure is None else secure.cipher()
        if secure is None or cipher is None:
            return False
        self._line.tls_version, self._line.tls_cipher = secure.version() or "", cipher[0]
        return True

    # Deadlines, memory, closing.

    def _look_after(self) -> None:
        """Set what follows from the session's state: deadline, pauses, memory."""
        core, premises = self._core, self._premises
        if core is None or self._transport is None or core.state is State.CLOSED:
            return
        state, limits = core.state, premises.limits
        if state is State.CONTENT:
            if self._content_since_s == NEVER:
                self._content_since_s, self._content_bytes = premises.now_s, 0
                self.deadline_s = self._content_deadline_s()
            if core.body_bytes > limits.spill_bytes and not self._hold & _SPILL:
                self._start_spilling(core)
        elif state is State.ASKED:
            self.deadline_s = NEVER
        elif not core.unread_bytes:
            self._partial_since_s = NEVER
            self._set_deadline(premises.now_s + (limits.command_s if state is State.SASL else limits.idle_s))
        else:
            if self._partial_since_s == NEVER:
                self._partial_since_s = premises.now_s
            self._set_deadline(self._partial_since_s + limits.command_s)
        if self._hold & _OUTPUT:  # first the peer takes what it was told
            self.deadline_s = self._clogged_until_s
        waiting = state is State.ASKED and core.unread_bytes > limits.unread_bytes
        if waiting or self._hold & _QUESTION:
            self._set_hold(_QUESTION, on=waiting)
        held_bytes = core.held_bytes + self._outside_bytes + self._recipients_bytes
        may = premises.memory.report(self, held_bytes, can_wait=state is State.CONTENT)
        if not may and not self._hold & _MEMORY:
            self._paused_s = premises.now_s
            self.deadline_s = premises.now_s + limits.memory_wait_s
            self._set_hold(_MEMORY, on=True)

    def _set_deadline(self, deadline_s: float) -> None:
        if self.identity is None:
            deadline_s = min(deadline_s, self.connected_s + self._premises.limits.login_s)
        self.deadline_s = deadline_s

    def _content_deadline_s(self) -> float:
        limits = self._premises.limits
        return self._content_since_s + limits.message_base_s + self._content_bytes / limits.message_rate_bytes

    def _set_hold(self, hold: int, *, on: bool) -> None:
        before = self._hold
        self._hold = before | hold if on else before & ~hold
        if self._transport is None or bool(before) == bool(self._hold) or self._transport.is_closing():
            return
        if self._hold:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _close(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self.deadline_s = self._premises.now_s + self._premises.limits.linger_s
            self._drop_spill()
            self._transport.close()
