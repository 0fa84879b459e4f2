"""ServerSession: our side of one submission dialogue, without I/O.

    receive(bytes) -> next_event() until None -> take_output()

The session decides what the protocol decides, and *asks* what it does not: ``Credentials``, ``Mail``, ``Recipient``
and ``Content`` are events that it waits behind until ``answer()`` is called; pipelined commands wait with it, so that
replies stand in the order of commands (RFC 2920 §3.2). Nothing is decoded behind STARTTLS, and content is never read
for commands.

States: COMMAND and SASL read lines, CONTENT reads to CRLF.CRLF; ASKED and TLS wait for the driver; CLOSED is the end.
A session that erred too often, or whose peer cannot be understood any more, is told so once and ends.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sekisho.wire.mail.address import Mailbox
from sekisho.wire.smtp import answers, sasl
from sekisho.wire.smtp.framing import Content, ContentFault, ContentLimits, ContentReader, LineBuffer, LineFault
from sekisho.wire.smtp.grammar import AUTH_LINE_MAX_BYTES, Auth, Fault, Hello, Mail, Rcpt, Word, parse_command
from sekisho.wire.smtp.reply import Reply
from sekisho.wire.smtp.sasl import Challenge, Credentials, SaslFault


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Bounds of one session; the door's table of bounds gives the values and their reasons."""

    content: ContentLimits
    recipients: int
    messages: int
    errors: int
    logins: int
    idle_commands: int


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send the output, then start TLS and call ``tls_started``."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """May mail go to this mailbox? ``already`` recipients stand in the transaction."""

    mailbox: Mailbox
    already: int


@dataclass(frozen=True, slots=True)
class ContentRefused:
    """A message was read to its end and refused by the session itself."""

    fault: ContentFault


@dataclass(frozen=True, slots=True)
class Closed:
    """Send the output and close."""

    why: str


Question = Credentials | Mail | Recipient | Content
Event = Question | StartTls | ContentRefused | Closed


class State(enum.Enum):
    """What the session waits for."""

    COMMAND = enum.auto()
    SASL = enum.auto()
    CONTENT = enum.auto()
    ASKED = enum.auto()
    TLS = enum.auto()
    CLOSED = enum.auto()


class ServerSession:
    """One dialogue. Create it when the connection may speak: the greeting is in its output at once."""

    __slots__ = (
        "_asked",
        "_closing",
        "_ending",
        "_errors",
        "_exchange",
        "_failed_logins",
        "_hostname",
        "_idle_commands",
        "_input",
        "_limits",
        "_output",
        "_reader",
        "_refused_recipients",
        "authenticated",
        "client_name",
        "in_transaction",
        "messages",
        "recipients",
        "state",
        "tls",
    )

    def __init__(self, hostname: str, limits: SessionLimits, *, tls: bool) -> None:
        self._hostname = hostname
        self._limits = limits
        self._input = LineBuffer()
        self._output: list[bytes] = []
        self._reader: ContentReader | None = None
        self._exchange: sasl.Exchange | None = None
        self._asked: Question | None = None
        self._closing: Closed | None = None
        self._ending: _Ending | None = None
        self._errors = 0
        self._failed_logins = 0
        self._idle_commands = 0
        self._refused_recipients = 0
        self.state = State.COMMAND
        self.tls = tls
        self.client_name = ""
        """The EHLO name in force, fit to print; empty before EHLO and after HELO."""
        self.authenticated = False
        self.in_transaction = False
        self.recipients = 0
        self.messages = 0
        self._say(answers.greeting(hostname))

    # What the driver does.

    def receive(self, data: bytes) -> None:
        """Take bytes from the peer. Call ``next_event`` until it gives None after each."""
        if self.state is State.TLS:
            # Clear text before the handshake: an injected command would be run inside TLS (CVE-2011-0411).
            self._close("clear text behind STARTTLS")
        elif self.state is not State.CLOSED:
            self._input.append(data)

    def next_event(self) -> Event | None:
        """Read on to what the driver has to know or answer. None: more bytes or an answer are needed."""
        while self._closing is None:
            event: Event | None
            match self.state:
                case State.COMMAND:
                    if self._ending is not None and self._ending.at_once and not self.in_transaction:
                        self._close(self._ending.why, self._ending.reply)
                        continue
                    line = self._line()
                    if line is None:
                        break
                    event = self._command(line)
                case State.SASL:
                    line = self._line()
                    if line is None:
                        break
                    event = self._response(line)
                case State.CONTENT:
                    if not len(self._input):
                        return None
                    event = self._content()
                case _:
                    return None
            if event is not None:
                return event
        closing, self._closing = self._closing, None
        return closing

    def answer(self, reply: Reply, *, close: bool = False) -> None:
        """Answer the question asked last. 421 ends the session, as does ``close``."""
        if self.state is State.CLOSED:
            return  # aborted while the answer was being found
        asked, self._asked = self._asked, None
        self.state = State.COMMAND
        self._say(reply)
        match asked:
            case Credentials():
                self.authenticated = reply.is_positive
                if not reply.is_positive:
                    self._login_failed()
            case Mail():
                self.in_transaction = reply.is_positive
            case Recipient():
                self._answered_recipient(positive=reply.is_positive)
            case Content():
                self._end_transaction()
                if reply.is_positive:
                    self.messages += 1
                    self._idle_commands = 0
            case None:
                message = "nothing was asked"
                raise RuntimeError(message)
        if reply.code == 421 or close:
            self._close(reply.text)
        elif reply.is_permanent and isinstance(asked, Mail | Content):
            self._count_error()

    def tls_started(self) -> None:
        """The handshake is done: RFC 3207 §4.2, everything learned before is forgotten."""
        if self.state is State.TLS:
            self.state = State.COMMAND
            self.tls = True
            self.client_name = ""

    def end(self, reply: Reply, *, at_once: bool, why: str) -> None:
        """End the session with a 421: ``at_once`` between transactions, else in place of the next command's reply.

        ``at_once`` lets an open transaction finish. Call ``next_event`` after it.
        """
        self._ending = _Ending(reply, at_once, why)

    def abort(self, reply: Reply, why: str) -> None:
        """End the session now, whatever it does. Call ``next_event`` after it."""
        if self.state is not State.CLOSED:
            # While TLS is being set up nothing can be said that would be understood.
            self._close(why, None if self.state is State.TLS else reply)

    def take_output(self) -> bytes:
        """Give what is to be sent, all in one piece."""
        output = self._output
        if not output:
            return b""
        data = output[0] if len(output) == 1 else b"".join(output)
        output.clear()
        return data

    @property
    def unread_bytes(self) -> int:
        """Bytes received and not looked at: part of a line, or what waits behind a question."""
        return len(self._input)

    @property
    def held_bytes(self) -> int:
        """All memory that the peer filled."""
        return len(self._input) + (0 if self._reader is None else self._reader.held_bytes)

    @property
    def body_bytes(self) -> int:
        """Body in memory that ``take_body`` would give."""
        return 0 if self._reader is None else self._reader.body_bytes

    def take_body(self) -> bytes:
        """Give out the body of the message being read, to be kept elsewhere in front of what ``Content`` brings."""
        return b"" if self._reader is None else self._reader.take_body()

    # Commands.

    def _line(self) -> bytes | None:
        line = self._input.line(AUTH_LINE_MAX_BYTES)
        if not isinstance(line, LineFault):
            return line
        self._close(line.value, answers.LINE_BROKEN if line is LineFault.BROKEN else answers.LINE_TOO_LONG)
        return None

    def _command(self, line: bytes) -> Event | None:
        if self._ending is not None and not (self._ending.at_once and self.in_transaction):
            self._close(self._ending.why, self._ending.reply)
            return None
        match parse_command(line):
            case Mail() as command:
                return self._mail(command)
            case Rcpt(mailbox):
                return self._rcpt(mailbox)
            case Word.DATA:
                self._data()
            case Hello() as command:
                self._hello(command)
            case Auth() as command:
                return self._auth(command)
            case Word.STARTTLS:
                return self._start_tls()
            case Word.RSET:
                self._end_transaction()
                self._idle(answers.OK)
            case Word.NOOP:
                self._idle(answers.OK)
            case Word.VRFY:
                self._idle(answers.CANNOT_VERIFY)
            case Word.HELP:
                self._idle(answers.HELP)
            case Word.QUIT:
                self._close("quit", answers.BYE)
            case Fault.FOREIGN | Fault.UNWANTED_DATA as fault:
                self._close(fault.value, answers.COMMAND[fault])
            case Fault() as fault:
                self._error(answers.COMMAND[fault])
        return None

    def _hello(self, command: Hello) -> None:
        # RFC 5321 §4.1.4: a later EHLO resets the transaction; RFC 4954 lets the login stand.
        self._end_transaction()
        if command.extended:
            self.client_name = command.name
            size = self._limits.content.size_bytes
            self._idle(answers.hello_extended(self._hostname, size, tls=self.tls))
        else:
            self.client_name = ""
            self._idle(answers.hello(self._hostname))

    def _start_tls(self) -> Event | None:
        if self.tls:
            self._error(answers.TLS_ALREADY)
        elif not self.client_name:
            self._error(answers.HELLO_FIRST)
        elif len(self._input):
            self._close("clear text behind STARTTLS")
        else:
            self._say(answers.START_TLS)
            self.state = State.TLS
            return StartTls()
        return None

    def _auth(self, command: Auth) -> Event | None:
        if not self.tls:
            self._error(answers.TLS_FIRST)
        elif not self.client_name:
            self._error(answers.HELLO_FIRST)
        elif self.authenticated:
            self._error(answers.AUTH_ALREADY)
        elif self.in_transaction:
            self._error(answers.AUTH_IN_TRANSACTION)
        else:
            exchange = sasl.begin(command.mechanism)
            if isinstance(exchange, SaslFault):
                self._error(answers.SASL[exchange])
                return None
            self._exchange = exchange
            return self._sasl(exchange.start(command.initial))
        return None

    def _response(self, line: bytes) -> Event | None:
        return None if self._exchange is None else self._sasl(self._exchange.respond(line))

    def _sasl(self, step: sasl.Step) -> Event | None:
        match step:
            case Challenge(text):
                self._output.append(b"334 " + text + b"\r\n")
                self.state = State.SASL
                return None
            case Credentials():
                self._exchange = None
                return self._ask(step)
            case SaslFault():
                self._exchange = None
                self.state = State.COMMAND
                self._say(answers.SASL[step])
                self._login_failed()
                return None

    def _mail(self, command: Mail) -> Event | None:
        if not self.authenticated:
            # A login needs EHLO, so there was one; before it the vendor's text says more than "send EHLO".
            self._error(answers.AUTH_FIRST)
        elif not self.client_name:
            self._error(answers.HELLO_FIRST)
        elif self.in_transaction:
            self._error(answers.MAIL_ALREADY)
        elif self.messages >= self._limits.messages:
            self._close("messages per connection", answers.TOO_MANY_MESSAGES)
        elif command.size_bytes is not None and command.size_bytes > self._limits.content.size_bytes:
            self._error(answers.SIZE_EXCEEDED)
        else:
            return self._ask(command)
        return None

    def _rcpt(self, mailbox: Mailbox) -> Event | None:
        if not self.in_transaction:
            self._error(answers.MAIL_FIRST if self.authenticated else answers.AUTH_FIRST)
        elif self.recipients >= self._limits.recipients:
            self._say(answers.RECIPIENTS_EXCEEDED)
            self._count_refused_recipient()
        else:
            return self._ask(Recipient(mailbox, self.recipients))
        return None

    def _data(self) -> None:
        if self.recipients:
            self._say(answers.CONTINUE)
            self._reader = ContentReader(self._limits.content)
            self.state = State.CONTENT
            return
        if not self.in_transaction:
            no = answers.MAIL_FIRST if self.authenticated else answers.AUTH_FIRST
        else:
            no = answers.NO_RECIPIENTS if self._refused_recipients else answers.RCPT_FIRST
        if len(self._input):
            # RFC 2920 §3.1: DATA is the last of its group. What stands behind a refused one may be content from a
            # client that did not wait, and content never becomes a command.
            self._close("input behind a refused DATA", no)
        else:
            self._error(no)

    def _content(self) -> Event | None:
        reader = self._reader
        if reader is None:  # pragma: no cover - CONTENT has a reader
            return None
        rest = reader.feed(self._input.rest())
        if rest is None:
            return None
        if rest:
            self._input.append(rest)
        self._reader = None
        if reader.fault is None:
            return self._ask(reader.content())
        self.state = State.COMMAND
        self._end_transaction()
        self._error(answers.CONTENT[reader.fault])
        return ContentRefused(reader.fault)

    # Shared steps.

    def _ask(self, question: Question) -> Question:
        self._asked = question
        self.state = State.ASKED
        return question

    def _say(self, reply: Reply) -> None:
        self._output.append(bytes(reply))

    def _error(self, reply: Reply) -> None:
        self._say(reply)
        self._count_error()

    def _count_error(self) -> None:
        self._errors += 1
        if self._errors >= self._limits.errors:
            self._close("errors", answers.TOO_MANY_ERRORS)

    def _idle(self, reply: Reply) -> None:
        self._say(reply)
        self._idle_commands += 1
        if self._idle_commands >= self._limits.idle_commands:
            self._close("commands without a message", answers.TOO_MANY_IDLE)

    def _login_failed(self) -> None:
        self._failed_logins += 1
        if self._failed_logins >= self._limits.logins:
            self._close("failed logins", answers.TOO_MANY_LOGINS)

    def _answered_recipient(self, *, positive: bool) -> None:
        if positive:
            self.recipients += 1
        else:
            self._count_refused_recipient()

    def _count_refused_recipient(self) -> None:
        # A list with old addresses in it is no attack: refusals are not errors until there are more than recipients.
        self._refused_recipients += 1
        if self._refused_recipients > self._limits.recipients:
            self._close("refused recipients", answers.TOO_MANY_ERRORS)

    def _end_transaction(self) -> None:
        self.in_transaction = False
        self.recipients = 0
        self._refused_recipients = 0

    def _close(self, why: str, reply: Reply | None = None) -> None:
        if self._closing is not None or self.state is State.CLOSED:
            return
        if reply is not None:
            self._say(reply)
        self.state = State.CLOSED
        self._closing = Closed(why)
        self._input.clear()
        self._reader = None
        self._exchange = None
        self._asked = None


@dataclass(frozen=True, slots=True)
class _Ending:
    reply: Reply
    at_once: bool
    why: str
