"""The whole door on loopback: what no transcript can tell. Ordinary clients, slow ones, many, and an end."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import smtplib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import EmailMessage
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from sekisho.doors.smtp.bounds import Limits
from sekisho.doors.smtp.listener import TlsMode, raise_descriptor_limit, within_descriptors
from sekisho.doors.smtp.tls import server_context
from sekisho.queue.model import BodyFile
from sekisho.refusal import Reason, Refused
from sekisho.secret import Secret
from tests.acceptance.certificates import make_certificate
from tests.fakes.smtpdoor import QUICK, Door, open_door
from tests.fakes.smtpgate import FakeGate

GOOD = "good"
MESSAGE = b"From: a@example.com\r\nSubject: x\r\n\r\nhello\r\n"


@pytest.fixture(autouse=True)
def _quick_sweeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.doors.smtp.listener._TICK_S", 0.02)


@pytest.fixture(params=["uvloop", "asyncio"])
def door(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path, loop_kind=request.param) as opened:
        yield opened


def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that happens in the door's thread; the test's own time limit bounds it."""
    while not is_so():
        time.sleep(0.01)


def client(door: Door, *, implicit: bool = False, password: str = GOOD) -> smtplib.SMTP:
    if implicit:
        found: smtplib.SMTP = smtplib.SMTP_SSL("localhost", door.implicit_port, context=door.client_context())
    else:
        found = smtplib.SMTP("localhost", door.starttls_port)
        found.starttls(context=door.client_context())
    try:
        found.login("apikey", password)
    except smtplib.SMTPException:
        found.close()
        raise
    return found


def raw(door: Door, *, login: bool = True) -> ssl.SSLSocket:
    """A TLS socket behind EHLO and a login, all replies read."""
    found = door.connect(implicit=True)
    assert isinstance(found, ssl.SSLSocket)
    hear(found)
    if login:
        said = b"EHLO raw\r\nAUTH PLAIN AGFwaWtleQBnb29k\r\n"
        found.sendall(said)
        until(lambda: b"235" in hear(found))
    return found


def hear(found: socket.socket) -> bytes:
    return found.recv(65536)


def rest(found: socket.socket) -> bytes:
    """All that comes until the other end closes."""
    heard = b""
    with contextlib.suppress(ConnectionResetError):
        while data := found.recv(65536):
            heard += data
    found.close()
    return heard


def begin(found: socket.socket) -> None:
    """An envelope up to 354."""
    found.sendall(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
    heard = b""
    while b"354" not in heard:
        heard += hear(found)


@pytest.mark.parametrize("implicit", [False, True])
def test_a_stock_client_sends(door: Door, implicit: bool) -> None:
    sender = client(door, implicit=implicit)
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "a@example.com", "b@example.com", "Grüße"
    mail.set_content(".a line that begins with a dot\n..two\n")
    assert sender.send_message(mail) == {}
    assert sender.sendmail("a@example.com", ["b@example.com", "c@[127.0.0.1]"], MESSAGE).keys() == {"c@[127.0.0.1]"}
    sender.quit()
    first, second = door.gate.submissions
    assert first.body == b".a line that begins with a dot\r\n..two\r\n"
    assert first.mail_from == "a@example.com"
    assert (second.recipients, second.body) == (("b@example.com",), b"hello\r\n")


def test_the_trace_tells_the_name_and_hides_the_rest(door: Door) -> None:
    sender = client(door)
    sender.ehlo("client.example")
    sender.sendmail("a@example.com", ["b@example.com"], MESSAGE)
    sender.quit()
    trace = door.gate.submissions[0].trace
    assert trace.startswith(b"Received: from client.example (unknown)\r\n\tby mx.test (Sekisho) with ESMTPSA id ")
    assert trace.endswith(b" +0000\r\n")
    assert b"127.0.0.1" not in trace
    assert b"kkkk" not in trace
    assert max(map(len, trace.split(b"\r\n"))) < 79


@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
@pytest.mark.parametrize("options", [["--tls"], ["--tlsc"]])
def test_swaks_sends(door: Door, options: list[str]) -> None:
    port = door.port(implicit=options == ["--tlsc"])
    done = subprocess.run(
        [
            *("swaks", "--server", "127.0.0.1", "--port", str(port), *options, "--timeout", "20"),
            *("--auth", "PLAIN", "--auth-user", "apikey", "--auth-password", "good"),
            *("--from", "a@example.com", "--to", "b@example.com"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "250 2.0.0 Ok: queued as" in done.stdout
    assert len(door.gate.submissions) == 1


def test_a_large_body_comes_as_a_file(door: Door) -> None:
    body = b"".join(b"%060d\r\n" % number for number in range(40_000)) + b".dot\r\n"
    sender = client(door)
    sender.sendmail("a@example.com", ["b@example.com"], b"From: a@example.com\r\n\r\n" + body)
    sender.quit()
    (submission,) = door.gate.submissions
    assert isinstance(submission.body, BodyFile)
    assert submission.body.size_bytes == len(body)
    assert submission.body.path.read_bytes() == body
    assert submission.header == b"From: a@example.com\r\n"


def test_a_large_body_leaves_no_file_when_it_is_not_taken(door: Door) -> None:
    body = b"x" * 70 + b"\r\n"
    sender = client(door)
    with pytest.raises(smtplib.SMTPDataError):
        sender.sendmail("a@example.com", ["b@example.com"], b"Refuse: from.missing\r\n\r\n" + body * 20_000)
    with pytest.raises(smtplib.SMTPDataError):
        sender.sendmail("a@example.com", ["b@example.com"], b"From: a\r\n\r\n" + body * 20_000 + b"\0\r\n")
    sender.quit()
    begun = raw(door)
    begin(begun)
    begun.sendall(b"From: a\r\n\r\n" + body * 20_000)
    until(lambda: any(door.spill_directory.iterdir()))
    begun.close()
    until(lambda: not any(door.spill_directory.iterdir()))
    assert door.gate.submissions == []


def test_a_body_that_cannot_be_written_is_451_after_its_end(door: Door) -> None:
    sender = client(door)
    door.spill_directory.rename(door.spill_directory.with_name("moved"))
    with pytest.raises(smtplib.SMTPDataError) as refused:
        sender.sendmail("a@example.com", ["b@example.com"], b"From: a\r\n\r\n" + (b"x" * 70 + b"\r\n") * 20_000)
    assert refused.value.smtp_code == 451
    assert sender.sendmail("a@example.com", ["b@example.com"], MESSAGE) == {}
    sender.quit()


def test_our_own_fault_is_451_and_the_session_goes_on(door: Door) -> None:
    sender = client(door)
    door.gate.error = RuntimeError("secret detail")
    with pytest.raises(smtplib.SMTPDataError) as refused:
        sender.sendmail("a@example.com", ["b@example.com"], MESSAGE)
    assert refused.value.smtp_code == 451
    assert "secret" not in str(refused.value.smtp_error)
    door.gate.error = None
    assert sender.sendmail("a@example.com", ["b@example.com"], MESSAGE) == {}
    sender.quit()


def test_a_gate_that_fails_at_login_is_454(door: Door) -> None:
    door.gate.error = RuntimeError()
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        client(door)
    assert refused.value.smtp_code == 454


def test_a_pass_that_ended_is_told_at_the_next_command(door: Door) -> None:
    sender = client(door)
    door.gate.ended = Refused(Reason.AUTH_ENDED)
    with pytest.raises(smtplib.SMTPSenderRefused) as refused:
        sender.sendmail("a@example.com", ["b@example.com"], MESSAGE)
    assert refused.value.smtp_code == 421


def test_a_pass_that_ends_during_content_is_told_behind_it(door: Door) -> None:
    begun = raw(door)
    begin(begun)
    door.gate.ended = Refused(Reason.AUTH_ENDED)
    begun.sendall(MESSAGE + b".\r\n")
    assert rest(begun).startswith(b"421 4.7.0")
    assert door.gate.submissions == []


def test_expelled_sessions_hear_421_at_their_next_command(door: Door) -> None:
    gone, stays = client(door, password="good-gone"), client(door, password="good-stays")
    assert door.do(lambda: door.listener.expel(lambda who: who.key_id.startswith("good-gone"))) == 1
    assert gone.noop() == (421, b"4.7.0 Credentials are no longer valid, closing connection")
    gone.close()
    assert stays.noop()[0] == 250
    stays.quit()


def test_too_many_connections_from_one_address(tmp_path: Path) -> None:
    with open_door(tmp_path, limits=replace(QUICK, connections_per_address=2)) as door:
        kept = [door.connect() for _ in range(2)]
        for one in kept:
            assert hear(one).startswith(b"220")
        assert rest(door.connect()).startswith(b"421 4.7.0 Too many connections")
        with pytest.raises(OSError, match=r".*"):
            door.connect(implicit=True)
        kept.pop().close()
        until(lambda: door.listener.connections == 1)
        client(door).quit()
        kept.pop().close()


def test_too_many_connections_of_one_key(tmp_path: Path) -> None:
    with open_door(tmp_path, limits=replace(QUICK, connections_per_key=1)) as door:
        first = client(door)
        second = raw(door, login=False)
        second.sendall(b"EHLO a\r\nAUTH PLAIN AGFwaWtleQBnb29k\r\n")
        assert rest(second).endswith(b"421 4.7.0 Too many connections, try again later\r\n")
        client(door, password="good-other").quit()
        first.quit()
        until(lambda: door.listener.connections == 0)
        client(door).quit()


def test_guessers_are_refused_and_a_good_key_is_not(tmp_path: Path) -> None:
    with open_door(tmp_path, limits=replace(QUICK, failures=3)) as door:
        heard = []
        for _ in range(3):
            guesser = raw(door, login=False)
            guesser.sendall(b"EHLO a\r\nAUTH PLAIN AGFwaWtleQB3cm9uZw==\r\nAUTH PLAIN AGFwaWtleQB3cm9uZw==\r\nQUIT\r\n")
            heard.append(rest(guesser))
        assert [reply.count(b"535 5.7.8") for reply in heard] == [2, 1, 0]
        assert [reply.count(b"421 4.7.0 Too many failed logins") for reply in heard] == [0, 1, 1]
        client(door).quit()


def test_slow_peers_are_cut_each_by_its_deadline(door: Door) -> None:
    limits = door.listener._premises.limits
    # The dripping one in clear text: two threads may share a socket, but not a TLS connection.
    idle, partial, content, quiet = raw(door), door.connect(), raw(door), door.connect()
    shaking = socket.create_connection(("127.0.0.1", door.implicit_port), timeout=20)
    hear(quiet)
    hear(partial)
    begin(content)
    partial.sendall(b"NO")
    until(lambda: door.listener.connections == 5)
    until(lambda: any(one._partial_since_s < float("inf") for one in door.listener._connections))
    partial_ended: list[bytes] = []

    def drip() -> None:
        """Every octet comes in good time; the command never ends."""
        with contextlib.suppress(OSError):
            while not partial_ended:
                partial.sendall(b"x")
                time.sleep(0.05)

    dripping = threading.Thread(target=drip)
    dripping.start()
    door.clock.ahead_s += limits.command_s + 2
    partial_ended.append(rest(partial))
    dripping.join()
    # Who writes into a closed connection may lose what it was told.
    assert partial_ended[0] in (b"", b"421 4.4.2 Timeout, closing connection\r\n")
    with shaking:
        # The handshake's own timer is the loop's; drain and stop do not wait for it.
        until(lambda: door.listener.connections == 4)
    door.clock.ahead_s += limits.login_s
    assert rest(quiet) == b"421 4.4.2 Timeout, closing connection\r\n"
    door.clock.ahead_s += limits.idle_s
    assert rest(idle) == b"421 4.4.2 Timeout, closing connection\r\n"
    assert rest(content) == b"421 4.4.2 Timeout, closing connection\r\n"
    until(lambda: [line["ended"] for line in door.logged].count("timeout") == 4)


def shaking_hands(door: Door) -> socket.socket:
    """A connection whose server waits for a handshake."""
    found = door.connect()
    hear(found)
    found.sendall(b"EHLO a\r\n")
    hear(found)
    found.sendall(b"STARTTLS\r\n")
    assert hear(found).startswith(b"220")
    return found


CLIENT_HELLO_BEGUN = b"\x16\x03\x01\x02\x00\x01"


@pytest.mark.parametrize("begun", [b"", CLIENT_HELLO_BEGUN])
def test_a_handshake_that_does_not_end_is_cut(door: Door, begun: bytes) -> None:
    found = shaking_hands(door)
    found.sendall(begun)
    door.clock.ahead_s += door.listener._premises.limits.handshake_s + 1
    assert rest(found) == b""
    until(lambda: door.listener.connections == 0)
    client(door).quit()


@pytest.mark.parametrize("sent", [b"", CLIENT_HELLO_BEGUN, b"EHLO clear\r\n" * 20])
def test_a_handshake_that_fails_gives_everything_back(door: Door, sent: bytes) -> None:
    for _ in range(3):
        found = shaking_hands(door)
        found.sendall(sent)
        found.close()
        with socket.create_connection(("127.0.0.1", door.implicit_port), timeout=20) as other:
            other.sendall(sent)
    until(lambda: [line["event"] for line in door.logged].count("session") == 6)
    assert door.listener.connections == 0
    assert door.listener._premises.admission.connect(IPv4Address("127.0.0.1"))
    assert all(line["tls"] == "" for line in door.logged)


def test_commands_may_come_with_the_end_of_the_handshake(door: Door) -> None:
    for _ in range(30):
        plain = shaking_hands(door)
        inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
        secured = door.client_context().wrap_bio(inside, outside, server_hostname="localhost")
        while True:
            try:
                secured.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outside.read())
                inside.write(hear(plain))
        secured.write(b"EHLO a\r\nQUIT\r\n")
        plain.sendall(outside.read())  # our Finished and the commands, in one segment
        heard = b""
        while b"221 2.0.0" not in heard:
            inside.write(hear(plain))
            with contextlib.suppress(ssl.SSLWantReadError):
                heard += secured.read(65536)
        plain.close()


def test_drain_does_not_wait_for_handshakes(door: Door) -> None:
    found = [shaking_hands(door), socket.create_connection(("127.0.0.1", door.implicit_port), timeout=20)]
    until(lambda: door.listener.connections == 2)
    door.run(door.listener.drain(20))
    assert door.listener.connections == 0
    assert [rest(one) for one in found] == [b"", b""]


def test_a_gate_that_breaks_its_word_ends_the_session_alone(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    sender = raw(door)
    monkeypatch.setattr(door.gate, "recipient", broken)
    sender.sendall(b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n")
    heard = rest(sender).splitlines()
    assert heard[0].startswith(b"250")
    assert heard[1:] == [b"421 4.3.0 Local error in processing, closing connection"]
    raw(door).close()


def test_content_that_comes_fast_enough_is_not_cut(door: Door) -> None:
    limits = door.listener._premises.limits
    sender = raw(door)
    begin(sender)
    sender.sendall(b"From: a@example.com\r\n\r\n" + (b"x" * 98 + b"\r\n") * 5000)
    until(lambda: any(one._content_bytes > 500_000 for one in door.listener._connections))
    # 500 KB buy 48 seconds at 10 KiB/s, after the grace.
    door.clock.ahead_s += limits.message_base_s + 20
    time.sleep(0.2)
    sender.sendall(b".\r\n")
    assert hear(sender).startswith(b"250")
    sender.close()


def test_a_peer_that_does_not_read_is_cut(door: Door) -> None:
    deaf = door.connect()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    with contextlib.suppress(OSError):
        deaf.sendall(b"EHLO a\r\n" * 99)
    until(lambda: door.listener.connections == 1)
    door.clock.ahead_s += 1000
    until(lambda: door.listener.connections == 0)
    deaf.close()


def test_one_slow_login_does_not_hold_others(tmp_path: Path) -> None:
    with open_door(tmp_path, limits=replace(QUICK, failure_delay_ms=60_000, failure_delay_max_ms=60_000)) as door:
        waiting = raw(door, login=False)
        waiting.sendall(b"EHLO a\r\nAUTH PLAIN AGFwaWtleQB3cm9uZw==\r\n")
        until(lambda: len(door.gate.logins) == 1)
        client(door).quit()
        waiting.close()
        # Nobody waits for the rest of that minute.
        until(lambda: not door.listener._tasks)


def test_memory_that_is_spent_stops_the_heavy_alone(tmp_path: Path) -> None:
    limits = replace(QUICK, session_memory_bytes=200_000, spill_bytes=10**9)
    line = b"x" * 98 + b"\r\n"
    with open_door(tmp_path, limits=limits) as door:
        memory = door.listener._premises.memory
        heavy = [raw(door) for _ in range(3)]
        for one in heavy:
            begin(one)
            one.sendall(b"From: a@example.com\r\n\r\n" + line * 1000)
        until(lambda: memory.used_bytes > 200_000)
        light = client(door)
        assert light.sendmail("a@example.com", ["b@example.com"], MESSAGE) == {}
        light.quit()
        for one in heavy:
            one.sendall(b".\r\n")
        for one in heavy:
            assert hear(one).startswith(b"250")
            one.close()
        until(lambda: door.listener.connections == 0)
        assert memory.used_bytes == 0
        assert len(door.gate.submissions) == 4


def test_drain_ends_idle_sessions_and_lets_a_transaction_finish(door: Door) -> None:
    idle, busy = raw(door), raw(door)
    begin(busy)
    draining = threading.Thread(target=lambda: door.run(door.listener.drain(20)))
    draining.start()
    assert rest(idle) == b"421 4.3.2 Service shutting down, closing connection\r\n"
    busy.sendall(MESSAGE + b".\r\n")
    heard = rest(busy)
    assert heard.startswith(b"250 2.0.0 Ok: queued as ")
    assert heard.endswith(b"421 4.3.2 Service shutting down, closing connection\r\n")
    draining.join()
    with pytest.raises(ConnectionRefusedError):
        door.connect()


def test_drain_cuts_what_does_not_end_and_waits_for_what_is_handed_over(tmp_path: Path) -> None:
    gate = FakeGate()
    with open_door(tmp_path, gate=gate) as door:
        slow, handed = raw(door), raw(door)
        begin(slow)

        async def close_gate() -> None:
            gate.open = asyncio.Event()

        door.run(close_gate())
        begin(handed)
        handed.sendall(MESSAGE + b".\r\n")
        until(lambda: any(one._outside_bytes for one in door.listener._connections))
        draining = threading.Thread(target=lambda: door.run(door.listener.drain(0.2)))
        draining.start()
        assert rest(slow) == b""
        assert gate.open is not None
        door.do(gate.open.set)
        draining.join()
        handed.close()
        assert len(gate.submissions) == 1


def test_new_limits_and_certificates_serve_new_sessions(door: Door) -> None:
    old = client(door)
    other = make_certificate(door.spill_directory.parent / "other")
    context = server_context(other.chain.read_bytes(), Secret(other.key.read_bytes()))

    def reload() -> None:
        door.listener.apply_tls(context)
        door.listener.apply(replace(QUICK, message_bytes=1000))

    door.do(reload)
    with pytest.raises(ssl.SSLCertVerificationError):
        client(door)
    trusting = ssl.create_default_context(cafile=str(other.chain))
    new = smtplib.SMTP_SSL("localhost", door.implicit_port, context=trusting)
    new.ehlo()
    assert new.esmtp_features["size"] == "1000"
    new.quit()
    assert old.sendmail("a@example.com", ["b@example.com"], MESSAGE + b"x\r\n" * 1000) == {}
    old.quit()


def test_a_session_leaves_one_line_without_secrets(tmp_path: Path) -> None:
    with open_door(tmp_path) as door:
        sender = client(door, password="good-SECRET")
        sender.sendmail("a@example.com", ["b@example.com"], b"Subject: PRIVATE\r\n\r\nPRIVATE\r\n")
        with pytest.raises(smtplib.SMTPRecipientsRefused):
            sender.sendmail("a@example.com", ["b@[127.0.0.1]"], MESSAGE)
        sender.quit()
        until(lambda: door.listener.connections == 0)
    (line,) = [one for one in door.logged if one["event"] == "session"]
    assert line["peer"] == "127.0.0.1"
    assert (line["messages"], line["recipients"]) == (1, 1)
    assert line["refusals"] == {"recipient.literal": 1}
    assert line["tls"] == "TLSv1.3"
    assert line["ended"] == "quit"
    assert line["account"] == 1
    assert "PRIVATE" not in str(door.logged)


def test_connections_stay_within_descriptors() -> None:
    assert within_descriptors(Limits(), 1024).connections == 1024 - 256
    assert within_descriptors(Limits(), 1 << 20) == Limits()
    assert within_descriptors(Limits(), 10).connections == 1
    assert raise_descriptor_limit() > 256


def test_modes_are_spelled_as_in_the_configuration() -> None:
    assert [mode.value for mode in TlsMode] == ["starttls", "implicit"]
