"""ClientSession: our side of a delivery dialogue, without I/O.

The driver feeds received bytes to ``receive`` and writes what ``output`` gives; events tell it what to do:

    StartTls      do the handshake, then call ``tls_started``
    Idle          the session can take a transaction: ``begin``, or ``quit``
    SendContent   the host waits for the content: ``send_content`` (or stream it and call ``content_sent``);
                  after that ``begin`` may be called once more, so that the next envelope travels with this content
    Finished      a transaction is over; one answer per recipient
    Failed        the connection is of no further use. It is followed by one Finished for each open transaction.

Theory: replies come in the order of the commands, so the session keeps a queue of what each expected reply answers.
With PIPELINING (RFC 2920) a whole envelope is one group: MAIL, every RCPT, DATA. What follows content may be in the
same group as its end (§3.1), so two transactions can be open at once: one waiting for the answer to its content, one
in its envelope. Without PIPELINING every command waits for its answer.

Everything that comes in is hostile: a reply that nothing asked for, one of the wrong kind, or one before its time
ends the session, and no input raises.
"""

from __future__ import annotations

import base64
import enum
import re
from collections import deque
from typing import Any, Generic

from sekisho.wire.smtp.dialogue import (
    Answer,
    Envelope,
    Event,
    Failed,
    Failure,
    FailureKind,
    Finished,
    Idle,
    Login,
    Quit,
    SendContent,
    Stage,
    StartTls,
    Tag,
    TlsWish,
)
from sekisho.wire.smtp.reply import Reply, ReplyFault, ReplyParser, reply
from sekisho.wire.smtp.stuffing import END, stuffed

EXTENSIONS_MAX = 100
"""EHLO lines looked at: the reply parser's own bound, said again where it counts."""
_REMEMBERED_REPLIES = 32
"""Single-line replies kept parsed: a host says ``250 2.1.0 Ok`` to every MAIL."""

_LINE_SAFE = re.compile(r'[!-;=?-~]+|"(?:[ !#-\[\]-~]|\\[ -~])*"@[!-;=?-~]+')
"""What may stand between < and > of a command: printable ASCII, and <, > and space only in a quoted local part."""


_IDLE = Idle()


class _State(enum.Enum):
    GREETING = enum.auto()  # up to the first Idle
    HANDSHAKE = enum.auto()
    OPEN = enum.auto()
    QUITTING = enum.auto()
    OVER = enum.auto()


class _Transaction(Generic[Tag]):
    __slots__ = ("accepted", "answers", "envelope", "heard", "mail_accepted", "tag")

    def __init__(self, envelope: Envelope, tag: Tag) -> None:
        self.envelope = envelope
        self.tag = tag
        self.answers: list[Answer | None] = [None] * len(envelope.recipients)
        self.accepted: list[int] = []
        self.mail_accepted = False
        self.heard = False

    def decide(self, stage: Stage, heard: Reply) -> None:
        """Give everyone who was accepted, or everyone when nobody was asked yet, this answer."""
        answer = Answer(stage, heard)
        for index in range(len(self.answers)) if stage is Stage.MAIL else self.accepted:
            self.answers[index] = answer


class ClientSession(Generic[Tag]):
    """One connection's dialogue, from the greeting to QUIT."""

    def __init__(self, hostname: str, tls: TlsWish, login: Login | None = None) -> None:
        if login is not None and tls is not TlsWish.ALWAYS:
            message = "credentials are only sent inside verified TLS"
            raise ValueError(message)
        self._hostname = hostname
        self._tls = tls
        self._login = login
        self._state = _State.GREETING
        self._protected = False
        self._helo_said = False
        self._parser = ReplyParser()
        self._known: dict[bytes, Reply] = {}
        self._nobody: _Transaction[Any] = _Transaction(Envelope("", (), 0, eight_bit=False), None)
        """Stands in for the transaction where a reply belongs to the session."""
        self._expected: deque[tuple[Stage, _Transaction[Tag], int]] = deque([(Stage.GREETING, self._nobody, 0)])
        self._open: deque[_Transaction[Tag]] = deque()
        self._content_due: _Transaction[Tag] | None = None
        self._content_sent = False
        self._logins: list[str] = []
        self._out: list[bytes] = []
        self._events: list[Event[Tag]] = []
        self.extensions: dict[str, str] = {}
        """What EHLO offered: keyword in upper case -> parameters."""

    # What the driver asks.

    @property
    def is_over(self) -> bool:
        """Nothing more comes of this session."""
        return self._state is _State.OVER

    @property
    def can_begin(self) -> bool:
        """``begin`` may be called now."""
        if self._state is not _State.OPEN or self._content_due is not None:
            return False
        return not self._expected or (self._content_sent and len(self._open) == 1 and self.pipelining)

    @property
    def is_idle(self) -> bool:
        """Nothing is open and nothing is awaited."""
        return self._state is _State.OPEN and not self._expected

    @property
    def pipelining(self) -> bool:
        """The host takes commands in groups."""
        return "PIPELINING" in self.extensions

    def objection(self, envelope: Envelope) -> Answer | None:
        """Say why this host can't be offered this message at all; ask before ``begin``.

        RFC 1870 §6.1 and RFC 6152 §3: what the host has said it will not take is not sent to it.
        """
        if envelope.eight_bit and "8BITMIME" not in self.extensions:
            return Answer(Stage.LOCAL, reply(554, "5.6.3", "8-bit content, and the host does not offer 8BITMIME"))
        limit = self.extensions.get("SIZE", "")
        if limit.isascii() and limit.isdigit() and len(limit) < 20 and 0 < int(limit) < envelope.size_bytes:
            return Answer(
                Stage.LOCAL, reply(552, "5.3.4", f"{envelope.size_bytes} bytes, and the host takes at most {limit}")
            )
        return None

    def output(self) -> bytes:
        """Take what is to be written now."""
        if not self._out:
            return b""
        data = b"".join(self._out) if len(self._out) > 1 else self._out[0]
        self._out.clear()
        return data

    # What the driver does.

    def tls_started(self) -> None:
        """The connection is protected (and verified, with TlsWish.ALWAYS). Before any input for implicit TLS."""
        self._protected = True
        if self._state is _State.HANDSHAKE:
            # RFC 3207 §4.2: forget everything heard in clear text.
            self._state = _State.GREETING
            self._hello()

    def begin(self, envelope: Envelope, tag: Tag) -> None:
        """Open a transaction; call only when ``can_begin``.

        Raises:
            ValueError: An address that can't be written into a command.
        """
        if not self.can_begin:
            message = "no transaction can begin now"
            raise RuntimeError(message)
        mail = self._mail(envelope)
        recipients = [f"RCPT TO:<{checked(address)}>\r\n" for address in envelope.recipients]
        transaction = _Transaction(envelope, tag)
        self._open.append(transaction)
        self._expected.append((Stage.MAIL, transaction, 0))
        if not self.pipelining:
            self._out.append(mail.encode("ascii"))
            return
        for index in range(len(recipients)):
            self._expected.append((Stage.RCPT, transaction, index))
        self._expected.append((Stage.DATA, transaction, 0))
        self._out.append(f"{mail}{''.join(recipients)}DATA\r\n".encode("ascii"))

    def send_content(self, header: bytes, body: bytes) -> None:
        """Queue the whole content: complete header block, empty line, body; dots are stuffed here."""
        if self._content_due is None:
            return
        self._out += (stuffed(header), b"\r\n", stuffed(body))
        self._out.append(END if not body or body.endswith(b"\r\n") else b"\r\n" + END)
        self.content_sent()

    def content_sent(self) -> None:
        """The content of the last SendContent, terminator included, has been written or queued."""
        if self._content_due is not None:
            self._content_due = None
            self._content_sent = True

    def quit(self) -> None:
        """Say good-bye; only when Idle."""
        if self._state is _State.OPEN and not self._expected:
            self._state = _State.QUITTING
            self._say(Stage.QUIT, "QUIT")

    def receive(self, data: bytes) -> list[Event[Tag]]:
        """Take received bytes; give what follows from them."""
        events = self._events = []
        if self._state is _State.OVER:
            return events
        for item in (ReplyFault.GARBAGE,) if self._shaking_hands else self._replies(data):
            if self._shaking_hands:
                # Whoever adds bytes behind the 220 wants them read as if they had come protected.
                self._fail(FailureKind.GARBAGE, "clear text behind the answer to STARTTLS")
            elif isinstance(item, ReplyFault):
                self._fail(FailureKind.GARBAGE, item.value)
            else:
                self._heard(item)
            if self.is_over:
                return events
        if self._shaking_hands and self._parser.has_partial:
            self._fail(FailureKind.GARBAGE, "clear text behind the answer to STARTTLS")
        return events

    def closed(self, failure: Failure | None = None) -> list[Event[Tag]]:
        """The connection is gone, or the driver gives it up for the reason given."""
        events = self._events = []
        if self._state is not _State.OVER:
            why = failure or Failure(FailureKind.CLOSED, f"the host closed the connection{self._moment()}")
            self._end(why)
        return events

    # Replies.

    @property
    def _shaking_hands(self) -> bool:
        return self._state is _State.HANDSHAKE

    def _replies(self, data: bytes) -> list[Reply | ReplyFault]:
        """Parse, but only once what the host says all the time."""
        if self._parser.has_partial or not data.endswith(b"\n"):
            return self._parser.feed(data)
        found: list[Reply | ReplyFault] = []
        known = self._known
        for line in _lines(data):
            seen = known.get(line)
            if seen is not None and not self._parser.has_partial:
                found.append(seen)
                continue
            begins = not self._parser.has_partial
            items = self._parser.feed(line)
            found += items
            if begins and len(items) == 1 and isinstance(items[0], Reply) and len(known) < _REMEMBERED_REPLIES:
                known[line] = items[0]
        return found

    def _heard(self, heard: Reply) -> None:
        if not self._expected:
            self._refused_or_garbage(heard, "a reply that nothing asked for")
            return
        stage, transaction, index = self._expected.popleft()
        transaction.heard = True
        if heard.is_intermediate and not (
            (stage is Stage.DATA and heard.code == 354) or (stage is Stage.AUTH and heard.code == 334)
        ):
            self._fail(FailureKind.GARBAGE, f"{heard.code} in answer to {stage.value}")
            return
        if self._content_due is not None:
            self._early(heard)
            return
        match stage:
            case Stage.MAIL:
                self._mail_answered(transaction, heard)
            case Stage.RCPT:
                self._rcpt_answered(transaction, index, heard)
            case Stage.DATA:
                self._data_answered(transaction, heard)
            case Stage.CONTENT | Stage.DISCARD:
                if stage is Stage.CONTENT:
                    transaction.decide(Stage.CONTENT, heard)
                self._content_sent = False
                self._finish(transaction, reset=False)
            case Stage.GREETING:
                self._greeted(heard)
            case Stage.HELLO:
                self._hello_answered(heard)
            case Stage.STARTTLS:
                self._starttls_answered(heard)
            case Stage.AUTH:
                self._auth_answered(heard)
            case Stage.RESET:
                if heard.is_positive:
                    self._events.append(_IDLE)
                else:
                    self._refuse(heard)
            case Stage.QUIT:
                self._state = _State.OVER
                self._events.append(Quit())
            case Stage.LOCAL:  # never expected
                raise AssertionError(stage)
        if heard.code == 421 and self._state is not _State.OVER:
            # RFC 5321 §3.8: 421 in answer to anything means that the host is closing.
            self._refuse(heard)

    def _early(self, heard: Reply) -> None:
        """A reply while the content is still to be sent: a refusal may be believed, an acceptance not."""
        if self._content_due is not None and (heard.is_temporary or heard.is_permanent):
            self._content_due.decide(Stage.CONTENT, heard)
        self._refused_or_garbage(heard, "an answer to content that was not sent yet")

    # Before the first transaction.

    def _greeted(self, heard: Reply) -> None:
        if heard.code == 220:
            self._hello()
        else:
            self._refused_or_garbage(heard, "no greeting")

    def _hello(self) -> None:
        self._say(Stage.HELLO, f"EHLO {self._hostname}")

    def _hello_answered(self, heard: Reply) -> None:
        if heard.is_permanent and self._tls is not TlsWish.ALWAYS and not self._protected and not self._helo_said:
            # RFC 5321 §3.2: a host without extensions. It can give neither TLS nor AUTH, so only if none is needed.
            self._helo_said = True
            self._say(Stage.HELLO, f"HELO {self._hostname}")
            return
        if not heard.is_positive:
            self._refuse(heard)
            return
        self.extensions = {} if self._helo_said else _extensions(heard)
        if not self._protected and self._tls is not TlsWish.NEVER:
            if "STARTTLS" in self.extensions:
                self._say(Stage.STARTTLS, "STARTTLS")
                return
            if self._tls is TlsWish.ALWAYS:
                self._fail(FailureKind.NO_TLS, "TLS is required and the host does not offer STARTTLS")
                return
        self._log_in()

    def _starttls_answered(self, heard: Reply) -> None:
        if heard.code == 220:
            self._state = _State.HANDSHAKE
            self._events.append(StartTls())
        elif heard.code == 421:
            self._refuse(heard)
        elif self._tls is TlsWish.ALWAYS:
            self._fail(FailureKind.NO_TLS, f"TLS is required and the host said: {heard}")
        else:
            self._log_in()

    def _log_in(self) -> None:
        login = self._login
        if login is None:
            self._state = _State.OPEN
            self._events.append(_IDLE)
            return
        offered = self.extensions.get("AUTH", "").upper().split()
        if not self._protected:
            message = "credentials would have gone out in clear text"
            raise AssertionError(message)
        if "PLAIN" in offered:  # with the initial response (RFC 4954 §4)
            self._say(Stage.AUTH, f"AUTH PLAIN {_base64(_plain(login))}")
        elif "LOGIN" in offered:
            self._logins = [_base64(login.password.reveal()), _base64(login.username)]
            self._say(Stage.AUTH, "AUTH LOGIN")
        else:
            self._fail(FailureKind.NO_AUTH, "the host offers neither AUTH PLAIN nor AUTH LOGIN")

    def _auth_answered(self, heard: Reply) -> None:
        if heard.is_intermediate:
            if not self._logins:
                self._fail(FailureKind.GARBAGE, "334 after all credentials were sent")
                return
            self._out.append(self._logins.pop().encode("ascii") + b"\r\n")
            self._expected.append((Stage.AUTH, self._nobody, 0))
        elif heard.is_positive and not self._logins:
            self._state = _State.OPEN
            self._events.append(_IDLE)
        else:
            self._refused_or_garbage(self._without_secrets(heard), "AUTH accepted before the credentials")

    def _without_secrets(self, heard: Reply) -> Reply:
        """Withhold a refusal that repeats what we sent: failures are logged and shown."""
        if self._login is None:
            return heard
        secret = self._login.password.reveal()
        sent = (secret, _base64(secret), _base64(_plain(self._login)))
        said = " ".join(heard.lines)
        if any(piece and piece in said for piece in sent):
            return reply(heard.code, heard.enhanced, "(the host repeated the credentials)")
        return heard

    # Transactions.

    def _mail(self, envelope: Envelope) -> str:
        size = f" SIZE={envelope.size_bytes}" if "SIZE" in self.extensions else ""
        # Only said when needed: a host must not take seven-bit mail for more than it is.
        body = " BODY=8BITMIME" if envelope.eight_bit else ""
        return f"MAIL FROM:<{checked(envelope.mail_from) if envelope.mail_from else ''}>{size}{body}\r\n"

    def _mail_answered(self, transaction: _Transaction[Tag], heard: Reply) -> None:
        if heard.is_positive:
            transaction.mail_accepted = True
            if not self.pipelining:
                self._ask_recipient(transaction, 0)
        else:
            # With PIPELINING the recipients and DATA are on their way; their answers no longer matter.
            transaction.decide(Stage.MAIL, heard)
            if not self.pipelining:
                self._finish(transaction, reset=False)

    def _ask_recipient(self, transaction: _Transaction[Tag], index: int) -> None:
        address = transaction.envelope.recipients[index]
        self._out.append(f"RCPT TO:<{address}>\r\n".encode("ascii"))
        self._expected.append((Stage.RCPT, transaction, index))

    def _rcpt_answered(self, transaction: _Transaction[Tag], index: int, heard: Reply) -> None:
        if transaction.mail_accepted:
            if heard.is_positive:
                transaction.accepted.append(index)
            else:
                transaction.answers[index] = Answer(Stage.RCPT, heard)
        if self.pipelining:
            return
        if heard.code == 421:
            return
        if index + 1 < len(transaction.answers):
            self._ask_recipient(transaction, index + 1)
        elif transaction.accepted:
            self._out.append(b"DATA\r\n")
            self._expected.append((Stage.DATA, transaction, 0))
        else:
            self._finish(transaction, reset=True)

    def _data_answered(self, transaction: _Transaction[Tag], heard: Reply) -> None:
        if heard.is_intermediate and transaction.accepted:
            self._expected.append((Stage.CONTENT, transaction, 0))
            self._content_due = transaction
            self._events.append(SendContent(transaction.tag))
        elif heard.is_intermediate:
            # RFC 2920 §3.1: a host may say 354 though it refused everybody. Nothing is for anybody: a lone dot.
            self._out.append(END)
            self._expected.append((Stage.DISCARD, transaction, 0))
        elif heard.is_positive:
            self._fail(FailureKind.GARBAGE, f"{heard.code} in answer to DATA")
        else:
            transaction.decide(Stage.DATA, heard)
            self._finish(transaction, reset=transaction.mail_accepted)

    def _finish(self, transaction: _Transaction[Tag], *, reset: bool) -> None:
        self._open.remove(transaction)
        self._events.append(Finished(transaction.tag, tuple(transaction.answers), transaction.heard))
        if self._expected:
            return  # the next envelope is on its way
        if reset:
            # The host still holds our MAIL: a second one would be out of order.
            self._say(Stage.RESET, "RSET")
        else:
            self._events.append(_IDLE)

    # Endings.

    def _refused_or_garbage(self, heard: Reply, what: str) -> None:
        if heard.is_temporary or heard.is_permanent:
            self._refuse(heard)
        else:
            self._fail(FailureKind.GARBAGE, f"{what}: {heard.code}")

    def _refuse(self, heard: Reply) -> None:
        self._end(Failure(FailureKind.REFUSED, str(heard), heard))

    def _fail(self, kind: FailureKind, text: str) -> None:
        self._end(Failure(kind, text))

    def _end(self, failure: Failure) -> None:
        self._state = _State.OVER
        self._content_due = None
        self._expected.clear()
        self._out.clear()
        if self._events and self._events[-1] is _IDLE:
            self._events.pop()
        self._events.append(Failed(failure))
        for transaction in self._open:
            self._events.append(Finished(transaction.tag, tuple(transaction.answers), transaction.heard))
        self._open.clear()

    def _say(self, stage: Stage, command: str) -> None:
        self._out.append(command.encode("ascii") + b"\r\n")
        self._expected.append((stage, self._nobody, 0))

    def _moment(self) -> str:
        return f" before answering {self._expected[0][0].value}" if self._expected else ""


def checked(address: str) -> str:
    """Give the address back if it can stand in a command line; the last guard against a smuggled command.

    Raises:
        ValueError: It holds a line break, another control character, a non-ASCII one, a bracket or a space
            (but inside a quoted local part).
    """
    if _LINE_SAFE.fullmatch(address) is None:
        message = f"not an address that can be sent: {address!r}"
        raise ValueError(message)
    return address


def _extensions(heard: Reply) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in heard.lines[1:EXTENSIONS_MAX]:
        # Some old hosts write "AUTH=LOGIN PLAIN"; nobody else uses "=" behind a keyword.
        keyword, _, parameters = line.replace("=", " ", 1).strip().partition(" ")
        found.setdefault(keyword.upper(), parameters.strip())
    return found


def _plain(login: Login) -> str:
    """RFC 4616: no authorisation identity, then name and password."""
    return f"\0{login.username}\0{login.password.reveal()}"


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")


def _lines(data: bytes) -> list[bytes]:
    """Cut after each LF; unlike splitlines, a lone CR ends nothing."""
    return [line + b"\n" for line in data[:-1].split(b"\n")]
