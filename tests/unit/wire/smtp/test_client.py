"""The delivery dialogue as transcripts: what the host says, and everything we say and conclude."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.secret import Secret
from sekisho.wire.smtp.client import ClientSession, checked
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
    TlsWish,
)

HELLO = b"250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
STEPWISE = b"250-mx.test\r\n250 SIZE\r\n"
ONE = Envelope("b@us.test", ("r@mx.test",), 100, eight_bit=False)
TWO = Envelope("", ("r1@mx.test", "r2@mx.test"), 100, eight_bit=True)
HEADER = b"Subject: x\r\n"
BODY = b".dot\r\nend\r\n"
SENT_BODY = b"Subject: x\r\n\r\n..dot\r\nend\r\n.\r\n"


def opened(hello: bytes = HELLO) -> ClientSession[str]:
    session: ClientSession[str] = ClientSession("us.test", TlsWish.NEVER)
    session.receive(b"220 mx.test\r\n")
    assert session.output() == b"EHLO us.test\r\n"
    assert session.receive(hello) == [Idle()]
    return session


def began(envelope: Envelope = ONE, hello: bytes = HELLO) -> ClientSession[str]:
    session = opened(hello)
    session.begin(envelope, "first")
    return session


def free(session: ClientSession[str]) -> bool:
    return session.can_begin


def told(finished: Event[str]) -> list[str | None]:
    """The answers of a Finished in short."""
    assert isinstance(finished, Finished)
    return [None if a is None else f"{a.stage.name} {a.reply}" for a in finished.answers]


def failure(events: list[Event[str]]) -> Failure:
    found = [e.failure for e in events if isinstance(e, Failed)]
    assert len(found) == 1, events
    return found[0]


# One message.


def test_a_whole_envelope_is_one_group() -> None:
    session = began()
    assert session.output() == b"MAIL FROM:<b@us.test> SIZE=100\r\nRCPT TO:<r@mx.test>\r\nDATA\r\n"
    assert session.receive(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n") == [SendContent("first")]
    session.send_content(HEADER, BODY)
    assert session.output() == SENT_BODY
    finished, idle = session.receive(b"250 2.0.0 taken\r\n")
    assert told(finished) == ["CONTENT 250 2.0.0 taken"]
    assert idle == Idle()


def test_eight_bit_content_and_the_null_path() -> None:
    session = began(TWO)
    assert session.output() == (
        b"MAIL FROM:<> SIZE=100 BODY=8BITMIME\r\nRCPT TO:<r1@mx.test>\r\nRCPT TO:<r2@mx.test>\r\nDATA\r\n"
    )


def test_without_pipelining_every_command_waits() -> None:
    session = began(Envelope("b@us.test", ("r1@mx.test", "r2@mx.test"), 100, eight_bit=False), STEPWISE)
    steps = [
        (b"250 ok\r\n", b"RCPT TO:<r1@mx.test>\r\n"),
        (b"250 ok\r\n", b"RCPT TO:<r2@mx.test>\r\n"),
        (b"550 5.1.1 who\r\n", b"DATA\r\n"),
    ]
    assert session.output() == b"MAIL FROM:<b@us.test> SIZE=100\r\n"
    for heard, said in steps:
        assert session.receive(heard) == []
        assert session.output() == said
    assert session.receive(b"354 go\r\n") == [SendContent("first")]
    assert not free(session)
    session.send_content(HEADER, BODY)
    assert not free(session)  # the next envelope needs PIPELINING to travel along
    finished, idle = session.receive(b"250 taken\r\n")
    assert told(finished) == ["CONTENT 250 taken", "RCPT 550 5.1.1 who"]
    assert idle == Idle()


def test_without_pipelining_all_refused_means_no_data() -> None:
    session = began(ONE, STEPWISE)
    session.receive(b"250 ok\r\n")
    session.output()
    events = session.receive(b"550 no\r\n")
    assert [told(e) for e in events] == [["RCPT 550 no"]]
    assert session.output() == b"RSET\r\n"
    assert session.receive(b"250 ok\r\n") == [Idle()]


def test_without_pipelining_mail_refused_ends_it() -> None:
    session = began(ONE, STEPWISE)
    finished, idle = session.receive(b"451 later\r\n")
    assert told(finished) == ["MAIL 451 later"]
    assert idle == Idle()


@pytest.mark.parametrize("body", [b"", b"text", b"text\r\n"])
def test_the_end_mark_stands_on_its_own_line(body: bytes) -> None:
    session = began()
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.output()
    session.send_content(HEADER, body)
    assert session.output().endswith(b"\r\n.\r\n")


# Two messages at once.


def test_the_next_envelope_travels_with_the_content() -> None:
    session = began()
    session.output()
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.send_content(HEADER, BODY)
    assert free(session)
    session.begin(ONE, "second")
    assert not free(session)
    assert session.output() == SENT_BODY + b"MAIL FROM:<b@us.test> SIZE=100\r\nRCPT TO:<r@mx.test>\r\nDATA\r\n"
    finished, go = session.receive(b"250 taken\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert told(finished) == ["CONTENT 250 taken"]
    assert go == SendContent("second")
    session.send_content(HEADER, BODY)
    finished, idle = session.receive(b"550 5.7.1 spam\r\n")
    assert told(finished) == ["CONTENT 550 5.7.1 spam"]
    assert idle == Idle()


def test_a_refused_content_does_not_touch_the_next_envelope() -> None:
    session = began()
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.send_content(HEADER, BODY)
    session.begin(ONE, "second")
    first, second = session.receive(b"554 5.6.0 no\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert told(first) == ["CONTENT 554 5.6.0 no"]
    assert second == SendContent("second")


def test_a_connection_lost_after_the_content_leaves_the_first_uncertain_and_the_second_unheard() -> None:
    session = began()
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.send_content(HEADER, BODY)
    session.begin(ONE, "second")
    failed, first, second = session.closed()
    assert isinstance(failed, Failed)
    assert failed.failure.kind is FailureKind.CLOSED
    assert first == Finished("first", (None,), heard=True)
    assert second == Finished("second", (None,), heard=False)
    assert session.closed() == []
    assert session.receive(b"250 ok\r\n") == []


# Refusals within a group.


def test_everybody_refused_and_data_refused_needs_a_reset() -> None:
    session = began(TWO)
    session.output()
    (finished,) = session.receive(b"250 ok\r\n550 5.1.1 a\r\n450 4.2.1 b\r\n554 5.5.1 no recipients\r\n")
    assert told(finished) == ["RCPT 550 5.1.1 a", "RCPT 450 4.2.1 b"]
    assert not free(session)
    assert session.output() == b"RSET\r\n"
    assert session.receive(b"250 ok\r\n") == [Idle()]
    assert free(session)


def test_everybody_refused_but_354_gets_a_lone_dot() -> None:
    session = began(TWO)
    session.output()
    assert session.receive(b"250 ok\r\n550 5.1.1 a\r\n550 5.1.1 b\r\n354 go\r\n") == []
    assert session.output() == b".\r\n"
    finished, idle = session.receive(b"250 ok\r\n")  # an empty message to nobody was "taken"
    assert told(finished) == ["RCPT 550 5.1.1 a", "RCPT 550 5.1.1 b"]
    assert idle == Idle()


def test_mail_refused_decides_for_everybody() -> None:
    session = began(TWO)
    session.output()
    finished, idle = session.receive(b"550 5.7.1 not you\r\n503 no mail\r\n503 no mail\r\n503 no mail\r\n")
    assert told(finished) == ["MAIL 550 5.7.1 not you"] * 2
    assert idle == Idle()
    assert session.output() == b""


def test_mail_refused_but_the_rest_accepted_sends_nothing() -> None:
    session = began(TWO)
    session.output()
    assert session.receive(b"450 later\r\n250 ok\r\n250 ok\r\n354 go\r\n") == []
    assert session.output() == b".\r\n"
    finished, _ = session.receive(b"250 ok\r\n")
    assert told(finished) == ["MAIL 450 later"] * 2


def test_data_refused_decides_for_those_accepted() -> None:
    session = began(TWO)
    session.output()
    (finished,) = session.receive(b"250 ok\r\n550 5.1.1 a\r\n250 ok\r\n451 4.3.0 busy\r\n")
    assert told(finished) == ["RCPT 550 5.1.1 a", "DATA 451 4.3.0 busy"]
    assert session.output() == b"RSET\r\n"


# 421, garbage, too early, too much.


@pytest.mark.parametrize(
    ("heard", "answers"),
    [
        (b"421 4.3.2 bye\r\n", ["MAIL 421 4.3.2 bye"] * 2),
        (b"250 ok\r\n421 4.3.2 bye\r\n", ["RCPT 421 4.3.2 bye", None]),
        (b"250 ok\r\n550 no\r\n250 ok\r\n421 4.3.2 bye\r\n", ["RCPT 550 no", "DATA 421 4.3.2 bye"]),
    ],
)
@pytest.mark.parametrize("hello", [HELLO, b"250-mx.test\r\n250 8BITMIME\r\n"])
def test_421_ends_the_session_whenever_it_comes(heard: bytes, answers: list[str | None], hello: bytes) -> None:
    session = began(TWO, hello)
    events: list[Event[str]] = []
    for line in heard.splitlines(keepends=True):
        session.output()
        events += session.receive(line)
    assert session.is_over
    assert failure(events) == Failure(FailureKind.REFUSED, "421 4.3.2 bye", failure(events).reply)
    assert [told(e) for e in events if isinstance(e, Finished)] == [answers]
    assert session.output() == b""


def test_421_after_the_content_is_an_answer() -> None:
    session = began()
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.send_content(HEADER, BODY)
    session.begin(ONE, "second")
    first, failed, second = session.receive(b"421 4.3.2 bye\r\n")
    assert told(first) == ["CONTENT 421 4.3.2 bye"]
    assert isinstance(failed, Failed)
    assert second == Finished("second", (None,), heard=False)


def test_421_out_of_the_blue() -> None:
    session = opened()
    assert failure(session.receive(b"421 4.4.2 idle too long\r\n")).kind is FailureKind.REFUSED


@pytest.mark.parametrize("heard", [b"250 ok\r\n", b"hello?\r\n", b"\x00\xff\r\n", b"999 x\r\n", b"100 x\r\n", b"\r\n"])
def test_anything_unasked_for_ends_the_session(heard: bytes) -> None:
    session = opened()
    assert failure(session.receive(heard)).kind is FailureKind.GARBAGE
    assert session.is_over


@pytest.mark.parametrize(
    "heard",
    [
        b"354 go\r\n",
        b"250 ok\r\n354 go\r\n",
        b"250 ok\r\n250 ok\r\n250 ok\r\n",
        b"250 ok\r\n250 ok\r\n334 go\r\n",
        b"250-ok\r\n251 ok\r\n",
        b"250 ok\r\n" * 2 + b"354 go\r\n250 taken before it was sent\r\n",
        b"250 ok\r\n" * 2 + b"354 go\r\n354 go\r\n",
    ],
)
def test_replies_of_the_wrong_kind_never_deliver(heard: bytes) -> None:
    session = began()
    events = session.receive(heard)
    assert failure(events).kind is FailureKind.GARBAGE
    assert told(events[-1]) == [None]
    session.send_content(HEADER, BODY)
    assert session.output() == b""
    assert not free(session)


def test_a_refusal_before_the_content_was_sent_is_believed() -> None:
    session = began()
    events = session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n554 5.7.1 go away\r\n")
    assert failure(events).kind is FailureKind.REFUSED
    assert told(events[-1]) == ["CONTENT 554 5.7.1 go away"]


@pytest.mark.parametrize(
    "flood",
    [b"250-" + b"x" * 100_000, b"250-x\r\n" * 200, b"2" * 100_000, b"250-" + b"y" * 4000 + b"\r\n" + b"250-z" * 20000],
)
def test_replies_without_end_are_cut_off(flood: bytes) -> None:
    session = began()
    events = session.receive(flood)
    assert failure(events).kind is FailureKind.GARBAGE


def test_control_characters_of_a_host_do_not_survive() -> None:
    session = began()
    events = session.receive(b"550 5.1.1 \x1b[2Jgone\x07\xe2\x80\xae\r\n503 x\r\n503 x\r\n")
    ((answer,),) = [told(e) for e in events if isinstance(e, Finished)]
    assert answer is not None
    assert answer.isprintable()


# Before the first message.


def test_a_host_without_extensions_gets_helo() -> None:
    session: ClientSession[str] = ClientSession("us.test", TlsWish.IF_OFFERED)
    session.receive(b"220 mx.test\r\n")
    session.output()
    assert session.receive(b"502 what?\r\n") == []
    assert session.output() == b"HELO us.test\r\n"
    assert session.receive(b"250-mx.test\r\n250 PIPELINING\r\n") == [Idle()]
    assert not session.pipelining  # HELO offers nothing


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ([b"554 no service\r\n"], FailureKind.REFUSED),
        ([b"421 busy\r\n"], FailureKind.REFUSED),
        ([b"250 hm\r\n"], FailureKind.GARBAGE),
        ([b"SSH-2.0-OpenSSH\r\n"], FailureKind.GARBAGE),
        ([b"220 x\r\n", b"421 busy\r\n"], FailureKind.REFUSED),
        ([b"220 x\r\n", b"550 no\r\n", b"550 no\r\n"], FailureKind.REFUSED),
        ([b"220 x\r\n220 x\r\n250 x\r\n"], FailureKind.GARBAGE),
    ],
)
def test_failed_openings(said: list[bytes], kind: FailureKind) -> None:
    session: ClientSession[str] = ClientSession("us.test", TlsWish.NEVER)
    events: list[Event[str]] = []
    for piece in said:
        events += session.receive(piece)
    assert failure(events).kind is kind


LOGIN = Login("user", Secret("geheim"))
TLS_HELLO = b"250-mx.test\r\n250 STARTTLS\r\n"


def shaking(wish: TlsWish = TlsWish.ALWAYS, login: Login | None = None) -> ClientSession[str]:
    session: ClientSession[str] = ClientSession("us.test", wish, login)
    session.receive(b"220 mx.test\r\n" + TLS_HELLO)
    assert session.output().endswith(b"STARTTLS\r\n")
    return session


def test_after_starttls_everything_is_asked_anew() -> None:
    session = shaking()
    assert session.receive(b"220 go\r\n") == [StartTls()]
    assert session.output() == b""
    session.tls_started()
    assert session.output() == b"EHLO us.test\r\n"
    assert session.receive(HELLO) == [Idle()]
    assert "STARTTLS" not in session.extensions


@pytest.mark.parametrize("wish", [TlsWish.ALWAYS, TlsWish.IF_OFFERED])
@pytest.mark.parametrize("behind", [b"250-mx.test\r\n250 AUTH PLAIN\r\n", b"2", b"\r\n"])
def test_clear_text_behind_starttls_is_never_read(wish: TlsWish, behind: bytes) -> None:
    session = shaking(wish)
    events = session.receive(b"220 go\r\n" + behind)
    assert failure(events).kind is FailureKind.GARBAGE
    assert session.is_over
    late = shaking(wish)
    late.receive(b"220 go\r\n")
    assert failure(late.receive(behind)).kind is FailureKind.GARBAGE


@pytest.mark.parametrize("hello", [HELLO, b"250 mx.test\r\n"])
def test_required_tls_is_not_waived(hello: bytes) -> None:
    session: ClientSession[str] = ClientSession("us.test", TlsWish.ALWAYS)
    assert failure(session.receive(b"220 x\r\n" + hello)).kind is FailureKind.NO_TLS
    assert failure(shaking().receive(b"454 4.7.0 not now\r\n")).kind is FailureKind.NO_TLS


@pytest.mark.parametrize("wish", [TlsWish.ALWAYS, TlsWish.IF_OFFERED])
def test_a_host_that_closes_instead_of_starting_tls_has_refused_us(wish: TlsWish) -> None:
    failed = failure(shaking(wish).receive(b"421 4.3.2 closing\r\n"))
    assert failed.kind is FailureKind.REFUSED
    assert failed.reply is not None
    assert failed.reply.code == 421


def test_opportunistic_tls_goes_on_in_clear_text_when_refused() -> None:
    assert shaking(TlsWish.IF_OFFERED).receive(b"454 4.7.0 not now\r\n") == [Idle()]


@pytest.mark.parametrize("wish", [TlsWish.NEVER, TlsWish.IF_OFFERED])
def test_credentials_need_verified_tls(wish: TlsWish) -> None:
    with pytest.raises(ValueError, match="verified TLS"):
        ClientSession("us.test", wish, LOGIN)


def logging_in(mechanisms: bytes) -> ClientSession[str]:
    session = shaking(login=LOGIN)
    session.receive(b"220 go\r\n")
    session.tls_started()
    session.output()
    session.receive(b"250-mx.test\r\n250 AUTH " + mechanisms + b"\r\n")
    return session


def test_auth_plain() -> None:
    session = logging_in(b"LOGIN PLAIN")
    assert session.output() == b"AUTH PLAIN " + base64.b64encode(b"\0user\0geheim") + b"\r\n"
    assert session.receive(b"235 2.7.0 welcome\r\n") == [Idle()]


def test_auth_login() -> None:
    session = logging_in(b"LOGIN")
    assert session.output() == b"AUTH LOGIN\r\n"
    assert session.receive(b"334 VXNlcm5hbWU6\r\n") == []
    assert session.output() == base64.b64encode(b"user") + b"\r\n"
    assert session.receive(b"334 UGFzc3dvcmQ6\r\n") == []
    assert session.output() == base64.b64encode(b"geheim") + b"\r\n"
    assert session.receive(b"235 welcome\r\n") == [Idle()]


def test_auth_login_asking_for_more_is_garbage() -> None:
    session = logging_in(b"LOGIN")
    session.receive(b"334 a\r\n334 b\r\n")
    assert failure(session.receive(b"334 c\r\n")).kind is FailureKind.GARBAGE


def test_no_usable_mechanism() -> None:
    session = shaking(login=LOGIN)
    session.receive(b"220 go\r\n")
    session.tls_started()
    assert failure(session.receive(b"250-mx.test\r\n250 AUTH GSSAPI\r\n")).kind is FailureKind.NO_AUTH


@pytest.mark.parametrize("echo", [b"geheim", base64.b64encode(b"\0user\0geheim"), base64.b64encode(b"geheim")])
def test_a_host_that_repeats_the_password_is_not_quoted(echo: bytes) -> None:
    session = logging_in(b"PLAIN")
    failed = failure(session.receive(b"535 5.7.8 bad " + echo + b"\r\n"))
    assert failed.kind is FailureKind.REFUSED
    assert echo.decode() not in repr(failed)


def test_an_honest_refusal_is_quoted() -> None:
    session = logging_in(b"PLAIN")
    assert failure(session.receive(b"535 5.7.8 account suspended\r\n")).text == "535 5.7.8 account suspended"


def test_quit() -> None:
    session = opened()
    session.quit()
    assert session.output() == b"QUIT\r\n"
    assert session.receive(b"221 bye\r\n") == [Quit()]
    assert session.is_over


# What a host has said it will not take.


@pytest.mark.parametrize(
    ("hello", "envelope", "said"),
    [
        (HELLO, Envelope("", ("r@x",), 1000, eight_bit=True), None),
        (HELLO, Envelope("", ("r@x",), 1001, eight_bit=False), "552 5.3.4"),
        (STEPWISE, Envelope("", ("r@x",), 10**9, eight_bit=False), None),
        (STEPWISE, Envelope("", ("r@x",), 10, eight_bit=True), "554 5.6.3"),
        (b"250-x\r\n250 SIZE 0\r\n", Envelope("", ("r@x",), 10, eight_bit=False), None),
        (b"250-x\r\n250 SIZE ab\r\n", Envelope("", ("r@x",), 10, eight_bit=False), None),
        (b"250-x\r\n250 SIZE " + b"9" * 500 + b"\r\n", Envelope("", ("r@x",), 10, eight_bit=False), None),
    ],
)
def test_objections(hello: bytes, envelope: Envelope, said: str | None) -> None:
    answer = opened(hello).objection(envelope)
    if said is None:
        assert answer is None
    else:
        assert isinstance(answer, Answer)
        assert answer.stage is Stage.LOCAL
        assert str(answer.reply).startswith(said)


# No command is ever smuggled in.


@pytest.mark.parametrize("address", ["a@b.c", "a+b=c@b.c", '"a b"@x.y', '"a\\"<>b"@x.y', "a@[192.0.2.1]", '"a@b"@c'])
def test_addresses_that_can_be_sent(address: str) -> None:
    assert checked(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "",
        "a@b\r\nDATA",
        "a@b\n",
        "a@b\r",
        "a b@c",
        "a@b>",
        "<a@b",
        "a@b> SIZE=1",
        "\xe4@b",
        "a@b\x00",
        '"a\r\nb"@c',
        '"a b@c',
    ],
)
def test_addresses_that_cannot(address: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        checked(address)
    for envelope in (
        Envelope(address or "\n", ("r@x",), 1, eight_bit=False),
        Envelope("", ("r@x", address), 1, eight_bit=False),
    ):
        for hello in (HELLO, STEPWISE):
            session = opened(hello)
            with pytest.raises(ValueError, match="not an address"):
                session.begin(envelope, "x")
            assert session.output() == b""


@given(st.text(max_size=30))
def test_whatever_passes_is_one_line_without_brackets_outside_quotes(text: str) -> None:
    try:
        checked(text)
    except ValueError:
        return
    assert text.isascii()
    assert text.isprintable()
    if " " in text or "<" in text or ">" in text:
        assert text.startswith('"')


# Properties.

LINES = st.sampled_from(
    [
        b"220 mx.test\r\n",
        b"250 ok\r\n",
        b"250 ok\n",
        b"250-mx.test\r\n250-PIPELINING\r\n250 8BITMIME\r\n",
        b"250 2.0.0 taken\r\n",
        b"354 go\r\n",
        b"550 5.1.1 no\r\n",
        b"451 later\r\n",
        b"421 bye\r\n",
        b"221 bye\r\n",
        b"junk\r\n",
        b"25",
        b"\r",
        b"\n",
    ]
)
STREAMS = st.lists(LINES, max_size=30).map(lambda lines: b"220 x\r\n250-x\r\n250 PIPELINING\r\n" + b"".join(lines))


def run(pieces: list[bytes]) -> tuple[list[Event[int]], bytes]:
    """Drive a session as a driver does, one event of SendContent or Idle beginning the next transaction."""
    session: ClientSession[int] = ClientSession("us.test", TlsWish.IF_OFFERED)
    heard: list[Event[int]] = []
    said = b""
    number = 0
    for piece in pieces:
        for event in session.receive(piece):
            heard.append(event)
            if isinstance(event, SendContent):
                session.send_content(HEADER, BODY)
            if session.can_begin:
                number += 1
                session.begin(Envelope("b@us.test", ("r1@x", "r2@x"), 5, eight_bit=False), number)
        said += session.output()
    heard += session.closed()
    return heard, said


@given(stream=STREAMS)
def test_every_transaction_finishes_exactly_once_whatever_is_heard(stream: bytes) -> None:
    heard, _ = run([stream])
    tags = [event.tag for event in heard if isinstance(event, Finished)]
    assert sorted(tags) == list(range(1, len(tags) + 1))
    assert sum(isinstance(event, Failed) for event in heard) == 1


@given(junk=st.binary(max_size=400))
def test_no_input_raises(junk: bytes) -> None:
    run([b"220 x\r\n250-x\r\n250 PIPELINING\r\n", junk])


@given(data=st.data(), stream=STREAMS)
def test_chunking_never_delivers_what_one_piece_would_not(data: st.DataObject, stream: bytes) -> None:
    # Only one direction: a reply that is too early when seen in one piece may look timely when it comes later,
    # so what is compared is a stream in which each reply waits for its command: line by line or octet by octet.
    lines = [line + b"\n" for line in stream.split(b"\n")[:-1]]
    cuts = [
        piece
        for line in lines
        for at in [data.draw(st.integers(0, len(line)))]
        for piece in (line[:at], line[at:])
        if piece
    ]
    assert run(lines) == run(cuts)
