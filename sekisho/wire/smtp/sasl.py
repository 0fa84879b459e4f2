"""SASL PLAIN (RFC 4616) and LOGIN, both sides, as RFC 4954 carries them."""

from __future__ import annotations

import base64
import binascii
import enum
from dataclasses import dataclass, field

CANCEL = b"*"
USERNAME = b"VXNlcm5hbWU6"
"""``Username:``"""
PASSWORD = b"UGFzc3dvcmQ6"
"""``Password:``"""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the client says it is; nobody has checked."""

    username: bytes = field(repr=False)
    """Hidden too: people type the key into the wrong field."""
    password: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """Text of a 334 reply: base64, or nothing."""

    text: bytes


class SaslFault(enum.Enum):
    """Why an exchange ends without credentials."""

    CANCELLED = "the client gave up"
    ENCODING = "not base64, or not what the mechanism sends"
    OTHER_IDENTITY = "it asks to act as somebody else"
    MECHANISM = "no such mechanism"


Step = Credentials | Challenge | SaslFault


class PlainExchange:
    """``authzid NUL authcid NUL passwd`` in one response."""

    __slots__ = ()

    def start(self, initial: bytes | None) -> Step:
        return Challenge(b"") if initial is None else self.respond(initial)

    def respond(self, line: bytes) -> Step:
        decoded = _decode(line)
        if isinstance(decoded, SaslFault):
            return decoded
        parts = decoded.split(b"\0")
        if len(parts) != 3:
            return SaslFault.ENCODING
        authzid, authcid, password = parts
        # RFC 4616 §2: acting for another is the server's to allow, and a key is nobody but itself.
        if authzid not in (b"", authcid):
            return SaslFault.OTHER_IDENTITY
        return Credentials(authcid, password)


class LoginExchange:
    """User name, then password; the name may come as initial response."""

    __slots__ = ("_username",)

    def __init__(self) -> None:
        self._username: bytes | None = None

    def start(self, initial: bytes | None) -> Step:
        # Exim with ``client_send = : apikey : …`` may send an empty initial response: it waits to be asked.
        return self.respond(initial) if initial else Challenge(USERNAME)

    def respond(self, line: bytes) -> Step:
        decoded = _decode(line)
        if isinstance(decoded, SaslFault):
            return decoded
        if self._username is None:
            self._username = decoded
            return Challenge(PASSWORD)
        return Credentials(self._username, decoded)


Exchange = PlainExchange | LoginExchange


def begin(mechanism: str) -> Exchange | SaslFault:
    """Make the server's side of a mechanism, its name in upper case."""
    match mechanism:
        case "PLAIN":
            return PlainExchange()
        case "LOGIN":
            return LoginExchange()
        case _:
            return SaslFault.MECHANISM


def _decode(line: bytes) -> bytes | SaslFault:
    if line == CANCEL:
        return SaslFault.CANCELLED
    try:
        # Strict: wrapped or blank-ridden base64 fails, as the vendor documents.
        decoded = binascii.a2b_base64(line, strict_mode=True)
    except binascii.Error:
        return SaslFault.ENCODING
    # Even strict mode lets padding pass that pads nothing (Python 3.11).
    return decoded if len(line) == (len(decoded) + 2) // 3 * 4 else SaslFault.ENCODING


def plain_response(username: bytes, password: bytes) -> bytes:
    """Give the client's one response of PLAIN, in base64."""
    return base64.b64encode(b"\0" + username + b"\0" + password)


def login_responses(username: bytes, password: bytes) -> tuple[bytes, bytes]:
    """Give the client's two responses of LOGIN, in base64."""
    return base64.b64encode(username), base64.b64encode(password)
