"""Every bound on what an SMTP peer controls: one table with value, reason, and what others chose.

``Limits`` is what the code reads; ``table()`` prints the same fields for the documentation, so the two cannot differ.
"""

from __future__ import annotations

from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from sekisho.wire.smtp.framing import TEXT_LINE_MAX_BYTES, ContentLimits
from sekisho.wire.smtp.grammar import AUTH_LINE_MAX_BYTES, COMMAND_LINE_MAX_BYTES, PATH_LINE_MAX_BYTES
from sekisho.wire.smtp.server import SessionLimits

KIB = 1024
MIB = 1024 * KIB


def _bound(default: float, why: str, others: str = "", key: str = "") -> Any:
    return field(default=default, metadata={"why": why, "others": others, "key": key})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds in force. Those with a configuration key are given by the operator, the rest stand."""

    # Connections, counted per host over all workers.
    connections: int = _bound(
        10_000,
        "memory and descriptors of the machine; lowered when the descriptor limit is lower",
        "SendGrid 10,000; Postfix 100 processes",
        "smtp.max_connections",
    )
    connections_per_address: int = _bound(
        200,
        "one host cannot take all connections; IPv6 is counted per /64, which one customer holds",
        "Postfix 50; Exim none",
        "smtp.max_connections_per_ip",
    )
    connections_per_key: int = _bound(
        1_000, "one leaked or looping key cannot take all connections", "SendGrid recommends 10"
    )
    descriptors_reserve: int = _bound(256, "deliveries, files and databases still open when all connections are taken")

    # One session.
    messages: int = _bound(
        5_000,
        "clients are spread over workers again, and no session lives for ever",
        "SendGrid 100 to 5,000",
        "smtp.max_messages_per_connection",
    )
    errors: int = _bound(20, "a peer that does not speak SMTP is cut; refused recipients do not count", "Postfix 20")
    logins: int = _bound(3, "guessing costs a new connection and handshake every third time")
    idle_commands: int = _bound(
        100, "NOOP, RSET, EHLO and such since the last accepted message; keep-alives of pools fit", "Postfix 100"
    )

    # One message.
    message_bytes: int = _bound(
        30 * MIB, "RFC 1870; declared and actual", "SendGrid 30 MB; Postfix 10 MB", "smtp.max_message_size"
    )
    header_bytes: int = _bound(
        4 * MIB,
        "kept in memory; X-SMTPAPI of 10,000 recipients fits, Postfix clients send up to 4,096,000",
        "Postfix 100 KiB",
    )
    header_fields: int = _bound(1_000, "no message means more; every field costs an object", "Exim 1 MB in all")
    recipients: int = _bound(
        1_000,
        "RFC 5321 §4.5.3.1.8 asks for 100; as many may be refused in one transaction, then 421",
        "SendGrid 1,000",
        "smtp.max_recipients",
    )

    # Time. All are looked at once a second by one sweeper.
    handshake_s: int = _bound(30, "TLS needs two round trips", "nginx 60 s")
    login_s: int = _bound(120, "from the connection to a successful login: strangers hold nothing for long")
    idle_s: float = _bound(
        300, "RFC 5321 §4.5.3.2.7: at least five minutes between commands", "Postfix 300 s", "smtp.idle_timeout"
    )
    command_s: int = _bound(
        60,
        "one command from its first octet to its last, whatever the drip; also for a reply to be read",
        "Postfix deadline mode",
    )
    message_base_s: int = _bound(300, "grace for content before the rate below is asked for")
    message_rate_bytes: int = _bound(
        10 * KIB,
        "least octets per second of content after the grace; slower peers are cut, not served for hours",
        "Apache 500 B/s",
    )
    memory_wait_s: int = _bound(30, "longest pause for want of session memory, then 421 4.3.1")
    login_check_s: int = _bound(5, "control data must have answered by then, else 454 4.7.0")
    linger_s: int = _bound(10, "for the last reply to be read after we close")

    # Memory.
    session_memory_bytes: int = _bound(
        256 * MIB, "over all sessions of a worker; beyond it the heaviest stop being read", "", "smtp.session_memory"
    )
    spill_bytes: int = _bound(256 * KIB, "a body over this goes to a file while it comes in")
    unread_bytes: int = _bound(64 * KIB, "pipelined commands waiting behind an answer; then reading pauses")

    # Failed logins, per address (IPv6: /64), over all workers.
    failure_delay_ms: int = _bound(
        500,
        "a failed login is answered this long after it began: unknown and wrong take the same; doubles with each",
        "Dovecot 2 s",
    )
    failure_delay_max_ms: int = _bound(8_000, "the doubling ends here")
    failures: int = _bound(20, "in a window; further failures are 421 and closed. A good key still gets in")
    failure_window_s: int = _bound(600, "how long a failure counts (two halves of five minutes)", "fail2ban 600 s")

    def session(self) -> SessionLimits:
        """The part that the protocol core keeps itself."""
        content = ContentLimits(self.message_bytes, self.header_bytes, self.header_fields)
        return SessionLimits(content, self.recipients, self.messages, self.errors, self.logins, self.idle_commands)


_FIXED = (
    ("command_line_bytes", COMMAND_LINE_MAX_BYTES, "RFC 5321 §4.5.3.1.4", ""),
    ("path_line_bytes", PATH_LINE_MAX_BYTES, "MAIL and RCPT with parameters (RFC 5321 §4.1.1.11)", "Postfix 2,048"),
    ("auth_line_bytes", AUTH_LINE_MAX_BYTES, "RFC 4954 §4; also all that is kept of a line without end", ""),
    ("text_line_bytes", TEXT_LINE_MAX_BYTES, "RFC 5322 §2.1.1; longer lines are refused, not folded", "Exim 998"),
)


def table() -> str:
    """The bounds as a Markdown table."""
    rows = ["| bound | value | configuration | why | others |", "|---|---|---|---|---|"]
    rows += [_row(bound) for bound in fields(Limits)]
    rows += [f"| `{name}` | {value:,} | | {why} | {others} |" for name, value, why, others in _FIXED]
    return "\n".join(rows) + "\n"


def _row(bound: Field[Any]) -> str:
    key = f"`{bound.metadata['key']}`" if bound.metadata["key"] else ""
    value = "" if bound.default is MISSING else f"{bound.default:,}"
    return f"| `{bound.name}` | {value} | {key} | {bound.metadata['why']} | {bound.metadata['others']} |"
