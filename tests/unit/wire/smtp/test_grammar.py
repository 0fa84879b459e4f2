from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.mail.address import Mailbox
from sekisho.wire.smtp.grammar import (
    AUTH_LINE_MAX_BYTES,
    COMMAND_LINE_MAX_BYTES,
    PATH_LINE_MAX_BYTES,
    Auth,
    Command,
    Fault,
    Hello,
    Mail,
    Rcpt,
    Word,
    parse_command,
)

B = Mailbox("b", "example.com")


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"EHLO client.example", Hello("client.example", extended=True)),
        (b"ehlo client.example", Hello("client.example", extended=True)),
        (b"HELO x", Hello("x", extended=False)),
        (b"EHLO [127.0.0.1]", Hello("[127.0.0.1]", extended=True)),
        (b"EHLO [IPv6:::1]", Hello("[IPv6:::1]", extended=True)),
        (b"EHLO my_pc", Hello("my_pc", extended=True)),
        (b"EHLO  two words ", Hello("two", extended=True)),
        (b"EHLO a(b)<c>;\tx", Hello("a?b??c??", extended=True)),
        (b"EHLO " + b"a" * 300, Hello("a" * 255, extended=True)),
        (b"STARTTLS", Word.STARTTLS),
        (b"starttls ", Word.STARTTLS),
        (b"DATA", Word.DATA),
        (b"RSET", Word.RSET),
        (b"QUIT", Word.QUIT),
        (b"NOOP", Word.NOOP),
        (b"NOOP anything", Word.NOOP),
        (b"HELP MAIL", Word.HELP),
        (b"VRFY someone", Word.VRFY),
        (b"AUTH PLAIN", Auth("PLAIN", None)),
        (b"auth plain AAA=", Auth("PLAIN", b"AAA=")),
        (b"AUTH LOGIN =", Auth("LOGIN", b"")),
        (b"MAIL FROM:<a@example.com>", Mail("a@example.com")),
        (b"mail from:<a@Example.COM>", Mail("a@example.com")),
        (b"MAIL FROM: <a@example.com>", Mail("a@example.com")),
        (b"MAIL FROM:a@example.com", Mail("a@example.com")),
        (b"MAIL FROM:a@example.com SIZE=1", Mail("a@example.com", 1)),
        (b"MAIL FROM:<>", Mail("")),
        (b"MAIL FROM:<> SIZE=100 BODY=8BITMIME", Mail("", 100)),
        (b"MAIL FROM:<a@b.example> BODY=7BIT", Mail("a@b.example")),
        (b"MAIL FROM:<a@b.example> body=8bitmime", Mail("a@b.example")),
        (b"MAIL FROM:<a@b.example> AUTH=<>", Mail("a@b.example")),
        (b"MAIL FROM:<a@b.example> AUTH=a+40b", Mail("a@b.example")),
        (b"MAIL FROM:<a@b.example> SIZE=99999999999999999999", Mail("a@b.example", 99999999999999999999)),
        (b'MAIL FROM:<"a b>c"@b.example> SIZE=1', Mail('"a b>c"@b.example', 1)),
        (b"RCPT TO:<b@example.com>", Rcpt(B)),
        (b"RCPT TO: <b@EXAMPLE.com> ", Rcpt(B)),
        (b"RCPT TO:b@example.com", Rcpt(B)),
        (b"RCPT TO:<b@[127.0.0.1]>", Rcpt(Mailbox("b", "[127.0.0.1]"))),
        (b"RCPT TO:<a%c@example.com>", Rcpt(Mailbox("a%c", "example.com"))),
        (b"RCPT TO:<c!a@example.com>", Rcpt(Mailbox("c!a", "example.com"))),
        (b'RCPT TO:<"a@c.example"@example.com>', Rcpt(Mailbox('"a@c.example"', "example.com"))),
    ],
)
def test_a_command_is_read(line: bytes, command: Command) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"", Fault.UNKNOWN),
        (b" ", Fault.UNKNOWN),
        (b"FOO", Fault.UNKNOWN),
        (b"EHLO", Fault.PARAMETER),
        (b"HELO ", Fault.PARAMETER),
        (b"EHLO \xc3\xa4", Fault.SYNTAX),
        (b"NOOP \xff", Fault.SYNTAX),
        (b"NOOP " + b"x" * COMMAND_LINE_MAX_BYTES, Fault.SYNTAX),
        (b"DATA now", Fault.PARAMETER),
        (b"STARTTLS x", Fault.PARAMETER),
        (b"QUIT x", Fault.PARAMETER),
        (b"RSET x", Fault.PARAMETER),
        (b"AUTH", Fault.PARAMETER),
        (b"AUTH PLAIN a b", Fault.PARAMETER),
        (b"AUTH \xff", Fault.SYNTAX),
        (b"EXPN list", Fault.NOT_IMPLEMENTED),
        (b"TURN", Fault.NOT_IMPLEMENTED),
        (b"ETRN x", Fault.NOT_IMPLEMENTED),
        (b"BDAT 10 LAST", Fault.UNWANTED_DATA),
        (b"GET / HTTP/1.1", Fault.FOREIGN),
        (b"POST / HTTP/1.1", Fault.FOREIGN),
        (b"CONNECT a:25 HTTP/1.1", Fault.FOREIGN),
        (b"Host: localhost:25", Fault.FOREIGN),
        (b"MAIL", Fault.SYNTAX),
        (b"MAIL <a@b.example>", Fault.SYNTAX),
        (b"MAIL FROM", Fault.SYNTAX),
        (b"MAIL TO:<a@b.example>", Fault.SYNTAX),
        (b"MAIL FROM:<a@b.example> " + b"x" * PATH_LINE_MAX_BYTES, Fault.SYNTAX),
        (b"MAIL FROM:", Fault.SENDER),
        (b"MAIL FROM:<", Fault.SENDER),
        (b"MAIL FROM:<a@b.example", Fault.SENDER),
        (b"MAIL FROM:<a@b.example>SIZE=1", Fault.SENDER),
        (b"MAIL FROM:<a@b.example>>", Fault.SENDER),
        (b"MAIL FROM:< a@b.example>", Fault.SENDER),
        (b"MAIL FROM:<a>", Fault.SENDER),
        (b"MAIL FROM:<\xc3\xa4@b.example>", Fault.SENDER),
        (b'MAIL FROM:"a"@b.example', Fault.SENDER),
        (b'MAIL FROM:<"a@b.example>', Fault.SENDER),
        (b"MAIL FROM:<@c.example:a@b.example>", Fault.SENDER),
        (b"MAIL FROM:<a@b.example>\x0bSIZE=1", Fault.SENDER),
        (b"MAIL FROM:<a@b.example> SIZE", Fault.PARAMETER),
        (b"MAIL FROM:<a@b.example> SIZE=", Fault.PARAMETER),
        (b"MAIL FROM:<a@b.example> SIZE=-1", Fault.PARAMETER),
        (b"MAIL FROM:<a@b.example> SIZE=1x", Fault.PARAMETER),
        (b"MAIL FROM:<a@b.example> SIZE=\xb2", Fault.SENDER),
        (b"MAIL FROM:<a@b.example> SIZE=" + b"9" * 21, Fault.PARAMETER),
        (b"MAIL FROM:<a@b.example> SIZE=1 SIZE=1", Fault.PARAMETER),
        (b"MAIL FROM:<a@b.example> AUTH=a+4", Fault.PARAMETER),
        (b"MAIL FROM:<a@b.example> BODY=BINARYMIME", Fault.PARAMETER_UNKNOWN),
        (b"MAIL FROM:<a@b.example> SMTPUTF8", Fault.PARAMETER_UNKNOWN),
        (b"MAIL FROM:<a@b.example> RET=HDRS", Fault.PARAMETER_UNKNOWN),
        (b"MAIL FROM:<a@b.example> ENVID=x", Fault.PARAMETER_UNKNOWN),
        (b"MAIL FROM:<a@b.example> REQUIRETLS", Fault.PARAMETER_UNKNOWN),
        (b"RCPT", Fault.SYNTAX),
        (b"RCPT FROM:<a@b.example>", Fault.SYNTAX),
        (b"RCPT TO:<>", Fault.RECIPIENT),
        (b"RCPT TO:", Fault.RECIPIENT),
        (b"RCPT TO:<postmaster>", Fault.RECIPIENT),
        (b"RCPT TO:<@c.example:a@b.example>", Fault.RECIPIENT),
        (b"RCPT TO:<a@b@c.example>", Fault.RECIPIENT),
        (b"RCPT TO:<a@b.example>,<c@d.example>", Fault.RECIPIENT),
        (b"RCPT TO:<b@example.com> NOTIFY=NEVER", Fault.PARAMETER_UNKNOWN),
        (b"RCPT TO:<b@example.com> ORCPT=rfc822;b@example.com", Fault.PARAMETER_UNKNOWN),
        (b"RCPT TO:<b@example.com> x", Fault.PARAMETER_UNKNOWN),
    ],
)
def test_what_is_no_command_is_a_fault(line: bytes, fault: Fault) -> None:
    assert parse_command(line) is fault


def test_an_initial_response_never_shows() -> None:
    assert "c2VjcmV0" not in repr(parse_command(b"AUTH PLAIN c2VjcmV0"))


verbs = st.sampled_from(
    [
        b"EHLO ",
        b"AUTH ",
        b"MAIL FROM:",
        b"RCPT TO:",
        b"MAIL FROM:<a@b.example> ",
        b"NOOP ",
        b"",
        b"RCPT TO:<b@c.example> ",
    ]
)


@given(verbs, st.binary(max_size=200))
def test_no_line_raises(verb: bytes, rest: bytes) -> None:
    found = parse_command(verb + rest)
    assert isinstance(found, Command | Fault)
    if isinstance(found, Hello):
        assert found.name.isascii()
        assert found.name.isprintable()
        assert not set(found.name) & set(' ()<>;,@"\\')
    if isinstance(found, Mail):
        assert found.path.isascii()
        assert found.path.isprintable()


@given(st.text('<>"\\@ab.: ', max_size=30))
def test_a_path_is_taken_whole_or_not_at_all(text: str) -> None:
    found = parse_command(b"RCPT TO:<" + text.encode() + b">")
    if isinstance(found, Rcpt):
        # The domain is lower case and the rest stands as sent: nothing was skipped, nothing routed.
        assert str(found.mailbox).lower() == text.lower()


def test_auth_lines_are_bounded_by_framing_alone() -> None:
    found = parse_command(b"AUTH PLAIN " + b"a" * (AUTH_LINE_MAX_BYTES - 11))
    assert isinstance(found, Auth)
