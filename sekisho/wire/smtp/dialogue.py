"""What a delivery dialogue is made of: envelopes, answers, failures, and the events of a ClientSession."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Generic, TypeVar

from sekisho.secret import Secret
from sekisho.wire.smtp.reply import Reply

Tag = TypeVar("Tag")


class Stage(enum.Enum):
    """What a reply answers."""

    GREETING = "greeting"
    HELLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "content"
    RESET = "RSET"
    QUIT = "QUIT"
    DISCARD = "empty content"  # a host that says 354 though it refused everybody
    LOCAL = "local"  # our own objection: the host was never asked


class TlsWish(enum.Enum):
    """What the session does about STARTTLS."""

    NEVER = "never"
    IF_OFFERED = "if offered"
    ALWAYS = "always"


class FailureKind(enum.Enum):
    """Why a connection came to nothing; the driver's own kinds included."""

    CERTIFICATE = "certificate"  # the handshake failed because we do not accept the host's certificate
    CLOSED = "closed"  # the host hung up
    CONNECT = "connect"  # no connection could be made
    GARBAGE = "garbage"  # what the host sent is not SMTP
    NO_AUTH = "no auth"  # no mechanism that we have credentials for
    NO_TLS = "no tls"  # TLS is required and not to be had
    OURS = "ours"  # something on our side went wrong in the middle of it
    REFUSED = "refused"  # the host said no to us, not to a message; or 421 at any time
    TIMEOUT = "timeout"
    TLS = "tls"  # the handshake failed


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a connection came to nothing. ``reply`` only with REFUSED."""

    kind: FailureKind
    text: str
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """What to log in with."""

    username: str
    password: Secret[str]


@dataclass(frozen=True, slots=True)
class Envelope:
    """What is said before the content."""

    mail_from: str
    """Without brackets; ``""`` is the null path."""
    recipients: tuple[str, ...]
    size_bytes: int
    eight_bit: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """The reply that decided a recipient's fate, and which command it answered."""

    stage: Stage
    reply: Reply


@dataclass(frozen=True, slots=True)
class StartTls:
    """The host is ready for the handshake; nothing was received behind its 220."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Nothing is open: a transaction may begin."""


@dataclass(frozen=True, slots=True)
class SendContent(Generic[Tag]):
    """At least one recipient was accepted and the host said 354."""

    tag: Tag


@dataclass(frozen=True, slots=True)
class Finished(Generic[Tag]):
    """A transaction is over."""

    tag: Tag
    answers: tuple[Answer | None, ...]
    """In the order of the recipients. None, only after Failed: no answer came for this one."""
    heard: bool
    """The host answered at least one command of this transaction."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The connection is of no further use."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class Quit:
    """The host has answered QUIT: close."""


Event = StartTls | Idle | SendContent[Tag] | Finished[Tag] | Failed | Quit
