"""SMTP commands as values: one line in, one frozen value out.

Lenient where real clients need it and nothing depends on it (blanks after the colon, missing angle brackets), strict
where two readers could differ. Never raises on any line.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from sekisho.wire.mail.address import Mailbox, parse_path

NAME_KEPT_CHARS = 255


class Word(enum.Enum):
    """Commands that carry nothing."""

    DATA = b"DATA"
    HELP = b"HELP"
    NOOP = b"NOOP"
    QUIT = b"QUIT"
    RSET = b"RSET"
    STARTTLS = b"STARTTLS"
    VRFY = b"VRFY"


class Fault(enum.Enum):
    """Why a line is not a command that we carry out."""

    UNKNOWN = "no such command"
    NOT_IMPLEMENTED = "a command of the RFCs that this server does not have"
    FOREIGN = "another protocol: its client must not be talked to"
    UNWANTED_DATA = "a command that is followed by octets we would take for commands"
    SYNTAX = "wrong form"
    PARAMETER = "a parameter in a wrong form, or one too many"
    PARAMETER_UNKNOWN = "a parameter of an extension that is not offered"
    SENDER = "no mailbox in MAIL FROM"
    RECIPIENT = "no mailbox in RCPT TO"


@dataclass(frozen=True, slots=True)
class Hello:
    """EHLO, or HELO when not ``extended``."""

    name: str
    """As sent, but printable ASCII without blanks and bounded: fit for a trace header and a log."""
    extended: bool


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH; ``initial`` is the undecoded initial response, empty for ``=``."""

    mechanism: str
    initial: bytes | None

    def __repr__(self) -> str:
        return f"Auth({self.mechanism!r}, …)"


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM; ``path`` is ``""`` for the null path."""

    path: str
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO."""

    mailbox: Mailbox


Command = Word | Hello | Auth | Mail | Rcpt

_BARE = {word.value: word for word in (Word.DATA, Word.QUIT, Word.RSET, Word.STARTTLS)}
_WITH_TEXT = {word.value: word for word in (Word.HELP, Word.NOOP, Word.VRFY)}
_NOT_IMPLEMENTED = frozenset({b"EXPN", b"TURN", b"ETRN", b"ATRN", b"SEND", b"SAML", b"SOML", b"BURL"})
# A browser made to post mail (cross-protocol attack), or a TLS client on the wrong port: its next lines are the
# attacker's, or noise, and none is a command.
_FOREIGN = frozenset(
    {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH", b"PRI", b"PROPFIND"}
    | {b"HOST:", b"USER-AGENT:", b"CONTENT-TYPE:", b"CONTENT-LENGTH:"}
)
# RFC 5321 §4.5.3.1.4 allows 512; §4.1.1.11 adds what each parameter needs (AUTH= of RFC 4954 alone 500).
COMMAND_LINE_MAX_BYTES = 512
PATH_LINE_MAX_BYTES = 1024 + 512
AUTH_LINE_MAX_BYTES = 12_288
"""RFC 4954 §4."""


def parse_command(line: bytes) -> Command | Fault:
    """Read one command line (CRLF taken off, no CR, LF or NUL in it)."""
    verb, _, rest = line.partition(b" ")
    verb = verb.upper()
    length = len(line)
    if verb == b"MAIL":
        return _mail(rest) if length <= PATH_LINE_MAX_BYTES else Fault.SYNTAX
    if verb == b"RCPT":
        return _rcpt(rest) if length <= PATH_LINE_MAX_BYTES else Fault.SYNTAX
    if verb == b"AUTH":
        return _auth(rest)
    if verb in _FOREIGN:
        return Fault.FOREIGN
    if length > COMMAND_LINE_MAX_BYTES or not line.isascii():
        return Fault.SYNTAX
    if verb in _BARE:
        return Fault.PARAMETER if rest.strip() else _BARE[verb]
    if verb in (b"EHLO", b"HELO"):
        return _hello(rest, extended=verb == b"EHLO")
    if verb in _WITH_TEXT:
        return _WITH_TEXT[verb]
    if verb == b"BDAT":
        # RFC 3030 §2: the chunk follows at once, whatever we answer.
        return Fault.UNWANTED_DATA
    return Fault.NOT_IMPLEMENTED if verb in _NOT_IMPLEMENTED else Fault.UNKNOWN


_unfit_for_name = re.compile(r"[^A-Za-z0-9.:\[\]_-]").sub


def _hello(rest: bytes, *, extended: bool) -> Hello | Fault:
    words = rest.split()
    if not words:
        return Fault.PARAMETER
    # RFC 5321 §4.1.4: a wrong name is no reason to refuse. It is only ever printed, so it is only made printable.
    return Hello(_unfit_for_name("?", words[0].decode("ascii")[:NAME_KEPT_CHARS]), extended)


def _auth(rest: bytes) -> Auth | Fault:
    words = rest.split()
    if not 1 <= len(words) <= 2:
        return Fault.PARAMETER
    if not words[0].isascii():
        return Fault.SYNTAX
    # RFC 4954 §4: "=" stands for an initial response of no octets.
    initial = None if len(words) == 1 else b"" if words[1] == b"=" else words[1]
    return Auth(words[0].decode("ascii").upper(), initial)


def _mail(rest: bytes) -> Mail | Fault:
    if rest[:5].upper() != b"FROM:":
        return Fault.SYNTAX
    split = _path_and_parameters(rest[5:])
    if split is None:
        return Fault.SENDER
    path, words = split
    if path:
        mailbox = parse_path(path)
        if mailbox is None:
            return Fault.SENDER
        path = str(mailbox)
    if not words:
        return Mail(path)
    size = _mail_parameters(words)
    return size if isinstance(size, Fault) else Mail(path, size)


def _rcpt(rest: bytes) -> Rcpt | Fault:
    if rest[:3].upper() != b"TO:":
        return Fault.SYNTAX
    split = _path_and_parameters(rest[3:])
    if split is None or (mailbox := parse_path(split[0])) is None:
        return Fault.RECIPIENT
    return Fault.PARAMETER_UNKNOWN if split[1] else Rcpt(mailbox)


_quoted_path = re.compile(rb'<((?:[^"<>\\]|"(?:[^"\\]|\\.)*+")*+)>').match


def _path_and_parameters(text: bytes) -> tuple[str, list[bytes]] | None:
    text = text.strip(b" \t")
    if not text.isascii():
        return None
    if text[:1] != b"<":
        # The vendor's documentation shows ``MAIL FROM:addr``; no quoted local part can be meant here.
        path, *words = text.split() or [b""]
        return (path.decode("ascii"), words) if path and b'"' not in path else None
    if b'"' in text:
        match = _quoted_path(text)
        end = -1 if match is None else match.end() - 1
    else:
        end = text.find(b">")
    if end < 0:
        return None
    after = text[end + 1 :]
    if not after:
        return text[1:end].decode("ascii"), []
    if after[:1] not in b" \t":
        return None
    return text[1:end].decode("ascii"), after.split()


_esmtp_value = re.compile(rb"[!-<>-~]+").fullmatch
_xtext = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+").fullmatch


def _mail_parameters(words: list[bytes]) -> int | Fault | None:
    seen: dict[bytes, bytes] = {}
    for word in words:
        keyword, equals, value = word.partition(b"=")
        keyword = keyword.upper()
        if keyword not in (b"SIZE", b"BODY", b"AUTH"):
            return Fault.PARAMETER_UNKNOWN
        if keyword in seen or not equals or _esmtp_value(value) is None:
            return Fault.PARAMETER
        seen[keyword] = value
    # RFC 6152: 8BITMIME is taken whether announced or not, so the two values mean the same here. BINARYMIME is
    # RFC 3030's and needs CHUNKING.
    if seen.get(b"BODY", b"7BIT").upper() not in (b"7BIT", b"8BITMIME"):
        return Fault.PARAMETER_UNKNOWN
    # RFC 4954 §5: AUTH= is accepted from a client that we know, and not acted on.
    if b"AUTH" in seen and _xtext(seen[b"AUTH"]) is None:
        return Fault.PARAMETER
    size = seen.get(b"SIZE")
    if size is None:
        return None
    # RFC 1870 §3: up to 20 digits.
    return int(size) if size.isdigit() and len(size) <= 20 else Fault.PARAMETER
