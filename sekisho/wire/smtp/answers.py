"""What our side of a dialogue says by itself: the fixed replies of the protocol.

Where the vendor's text is recorded it stands here behind an enhanced code (RFC 3463, registry of RFC 5248). Answers
that depend on a decision are chosen by the door that asks for it.
"""

from __future__ import annotations

from typing import Final

from sekisho.wire.smtp.framing import ContentFault
from sekisho.wire.smtp.grammar import Fault
from sekisho.wire.smtp.reply import Reply, reply
from sekisho.wire.smtp.sasl import SaslFault

OK: Final = reply(250, "2.0.0", "Ok")
BYE: Final = reply(221, "2.0.0", "See you later")
START_TLS: Final = reply(220, "2.0.0", "Begin TLS negotiation now")
CONTINUE: Final = reply(354, "", "Continue")
HELP: Final = reply(214, "2.0.0", "EHLO STARTTLS AUTH MAIL RCPT DATA RSET NOOP VRFY QUIT (RFC 5321, RFC 6409)")
# RFC 5321 §3.5.3: what is not verified is 252, never 250; no name is looked up, so none can be harvested.
CANNOT_VERIFY: Final = reply(252, "2.5.0", "Cannot VRFY user, but will accept message and attempt delivery")

HELLO_FIRST: Final = reply(503, "5.5.1", "Send EHLO first")
TLS_ALREADY: Final = reply(503, "5.5.1", "TLS is already active")
TLS_FIRST: Final = reply(538, "5.7.11", "Encryption required for requested authentication mechanism")
AUTH_ALREADY: Final = reply(503, "5.5.1", "Already authenticated")
AUTH_IN_TRANSACTION: Final = reply(503, "5.5.1", "AUTH is not permitted during a mail transaction")
AUTH_FIRST: Final = reply(550, "5.7.1", "Unauthenticated senders not allowed")
MAIL_ALREADY: Final = reply(503, "5.5.1", "Sender already specified")
MAIL_FIRST: Final = reply(503, "5.5.1", "Need MAIL command")
RCPT_FIRST: Final = reply(503, "5.5.1", "Need RCPT command")
NO_RECIPIENTS: Final = reply(554, "5.5.1", "No valid recipients")
SIZE_EXCEEDED: Final = reply(552, "5.3.4", "Message size exceeds maximum permitted")
RECIPIENTS_EXCEEDED: Final = reply(452, "4.5.3", "Too many recipients")
LINE_BROKEN: Final = reply(500, "5.5.2", "Lines end in CRLF and hold no CR, LF or NUL")
LINE_TOO_LONG: Final = reply(500, "5.5.2", "Line too long")

TOO_MANY_ERRORS: Final = reply(421, "4.7.0", "Too many errors, closing connection")
TOO_MANY_LOGINS: Final = reply(421, "4.7.0", "Too many failed logins, closing connection")
TOO_MANY_IDLE: Final = reply(421, "4.7.0", "Too many commands without a message, closing connection")
TOO_MANY_MESSAGES: Final = reply(421, "4.7.0", "Too many messages on this connection, open another")

SASL: Final[dict[SaslFault, Reply]] = {
    SaslFault.CANCELLED: reply(501, "5.7.0", "Authentication cancelled"),
    SaslFault.ENCODING: reply(501, "5.5.2", "Invalid base64 or response"),
    SaslFault.OTHER_IDENTITY: reply(535, "5.7.8", "Authentication failed: Bad username / password"),
    SaslFault.MECHANISM: reply(504, "5.5.4", "Unrecognized authentication type"),
}

COMMAND: Final[dict[Fault, Reply]] = {
    Fault.UNKNOWN: reply(500, "5.5.1", "Unrecognized command"),
    Fault.NOT_IMPLEMENTED: reply(502, "5.5.1", "Command not implemented"),
    Fault.FOREIGN: reply(500, "5.5.1", "This is a mail server"),
    Fault.UNWANTED_DATA: reply(502, "5.5.1", "Command not implemented"),
    Fault.SYNTAX: reply(500, "5.5.2", "Syntax error"),
    Fault.PARAMETER: reply(501, "5.5.4", "Invalid command arguments"),
    Fault.PARAMETER_UNKNOWN: reply(555, "5.5.4", "Parameter not recognized or not implemented"),
    Fault.SENDER: reply(501, "5.1.7", "Bad sender address syntax"),
    Fault.RECIPIENT: reply(501, "5.1.3", "Bad recipient address syntax"),
}

CONTENT: Final[dict[ContentFault, Reply]] = {
    ContentFault.BARE_LINE_END: reply(554, "5.6.0", "Message contains a bare CR or LF; lines end in CRLF"),
    ContentFault.NUL: reply(554, "5.6.0", "Message contains a NUL octet"),
    ContentFault.LONG_LINE: reply(554, "5.6.0", "Message contains a line over 998 octets"),
    ContentFault.TOO_LARGE: SIZE_EXCEEDED,
    ContentFault.HEADER_TOO_LARGE: reply(552, "5.3.4", "Message header exceeds maximum permitted"),
    ContentFault.TOO_MANY_FIELDS: reply(554, "5.6.0", "Message has too many header fields"),
}


def greeting(hostname: str) -> Reply:
    # RFC 5321 §4.2: the host's own name comes first.
    return reply(220, "", f"{hostname} ESMTP service ready")


def hello(hostname: str) -> Reply:
    return reply(250, "", hostname)


def hello_extended(hostname: str, size_bytes: int, *, tls: bool) -> Reply:
    # RFC 3207 §4.2: STARTTLS is not offered inside TLS. RFC 4954 §4: no plain-text mechanism outside. The last line
    # is the vendor's, for clients older than RFC 2554.
    offers = ("AUTH PLAIN LOGIN", "AUTH=PLAIN LOGIN") if tls else ("STARTTLS",)
    return reply(250, "", hostname, "8BITMIME", "PIPELINING", f"SIZE {size_bytes}", "ENHANCEDSTATUSCODES", *offers)
