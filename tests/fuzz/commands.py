"""Command lines: no line raises, what is taken is bounded and can be printed, and printed again it reads the same."""

from __future__ import annotations

from sekisho.wire.mail.address import ADDRESS_LENGTH_MAX, is_local_name, parse_path
from sekisho.wire.smtp.client import checked
from sekisho.wire.smtp.grammar import NAME_KEPT_CHARS, Auth, Fault, Hello, Mail, Rcpt, Word, parse_command

TOKENS = (
    b"EHLO ", b"HELO ", b"MAIL FROM:", b"RCPT TO:", b"AUTH ", b"PLAIN", b"DATA", b"RSET", b"NOOP ", b"QUIT", b"VRFY ",
    b"HELP", b"STARTTLS", b"BDAT ", b"EXPN", b"GET / HTTP/1.1", b"<a@b.example>", b"<>", b"a@b.example", b" SIZE=",
    b"10", b" BODY=", b"8BITMIME", b"7BIT", b"BINARYMIME", b" AUTH=", b"<>", b"+3D", b'"', b"\\", b"@", b"<", b">",
    b" ", b"\t", b"=", b"[127.0.0.1]", b"mail from:<A@B.EXAMPLE>", b'"a b"@b.example', b"\xff",
)  # fmt: skip

_NOT_IN_A_LINE = b"\r\n\0"
_SAFE_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.:[]_-?")


def target(data: bytes) -> None:
    line = data.translate(None, _NOT_IN_A_LINE)
    command = parse_command(line)
    verb, space, rest = line.partition(b" ")
    assert parse_command(verb.swapcase() + space + rest) == command
    match command:
        case Hello(name):
            assert 1 <= len(name) <= NAME_KEPT_CHARS
            assert set(name) <= _SAFE_NAME
        case Auth(mechanism, initial):
            assert mechanism.isascii()
            assert len(mechanism.encode().split()) == 1
            assert initial is None or not initial.split()[1:]
        case Mail(path, size_bytes):
            size = "" if size_bytes is None else f" SIZE={size_bytes}"
            assert size_bytes is None or 0 <= size_bytes < 10**20
            assert parse_command(f"MAIL FROM:<{path}>{size}".encode("ascii")) == command
            if path:
                _check_path(path)
        case Rcpt(mailbox):
            assert parse_command(f"RCPT TO:<{mailbox}>".encode("ascii")) == command
            _check_path(str(mailbox))
        case Word():
            assert verb.upper() == command.value
        case Fault():
            pass


def _check_path(path: str) -> None:
    assert len(path) <= ADDRESS_LENGTH_MAX
    assert path.isascii()
    assert path.isprintable()
    mailbox = parse_path(path)
    assert mailbox is not None
    assert str(mailbox) == path
    if not is_local_name(mailbox.domain):
        # Whatever we take, we can say to the next host.
        assert checked(path) == path
