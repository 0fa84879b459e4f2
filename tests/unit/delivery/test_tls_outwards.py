"""TLS with next hops, over real sockets and real handshakes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from sekisho.delivery.attempt import ConnectionLimits
from sekisho.delivery.routes import RouteTls, Target
from sekisho.delivery.site import Hop
from sekisho.delivery.tls import Level
from sekisho.delivery.verdict import Temporary
from tests.fakes.certificates import Authority
from tests.fakes.lane import Lane, hop_to, lane_to
from tests.fakes.smtphost import CLOSE, HANG, RESET, Fault, Say, SmtpHost, serving

OPPORTUNISTIC, REQUIRED = RouteTls.OPPORTUNISTIC, RouteTls.REQUIRED
ONE_EACH = ConnectionLimits(deliveries=1)
ONE_EACH_SOON = ConnectionLimits(deliveries=1, opening_s=0.7)


def _broken() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # no certificate: every handshake fails


def _tls_seen(lane: Lane) -> list[tuple[bool, bool]]:
    """Of each delivery: was there TLS, was it verified."""
    return [(bool(each.remote.tls_version), each.remote.tls_verified) for each in lane.delivered]


async def _sent(lane: Lane, count: int) -> None:
    for number in range(count):
        lane.send(number)
        await lane.wait_for(number + 1)


@pytest.mark.parametrize("tls", [OPPORTUNISTIC, REQUIRED])
async def test_a_well_certified_host_is_verified(authority: Authority, tls: RouteTls) -> None:
    host = SmtpHost(tls=authority.server("mx1.test"))
    async with serving(host), lane_to([hop_to(host)], tls=tls, extra_ca=authority.file) as lane:
        await _sent(lane, 2)
    assert host.violations == []
    assert host.connections == 1
    for delivered in lane.delivered:
        assert delivered.remote.tls_version.startswith("TLSv1.")
        assert delivered.remote.tls_cipher
        assert delivered.remote.tls_verified


@pytest.mark.parametrize(
    ("names", "is_known"), [(["other.test"], True), (["mx1.test"], False)], ids=["wrong name", "unknown issuer"]
)
async def test_a_badly_certified_host_still_gets_mail_in_tls_and_is_remembered(
    authority: Authority, names: Sequence[str], is_known: bool
) -> None:
    host = SmtpHost(tls=authority.server(*names))
    extra_ca = authority.file if is_known else None
    async with serving(host), lane_to([hop_to(host)], limits=ONE_EACH, extra_ca=extra_ca) as lane:
        await _sent(lane, 3)
        assert lane.dialler.memory.level("mx1.test", asyncio.get_running_loop().time()) is Level.UNVERIFIED
    assert _tls_seen(lane) == [(True, False)] * 3
    assert all(mail.tls for mail in host.mails)
    assert host.connections == 4  # one to see the certificate, one for each message
    assert host.commands.count("STARTTLS") == 4


@pytest.mark.parametrize("fault", [None, Say(b"220 go\r\n", close=True), RESET, HANG, CLOSE])
async def test_a_host_whose_handshake_fails_gets_mail_in_clear_text_and_is_remembered(fault: Fault | None) -> None:
    # RESET, HANG and CLOSE instead of an answer to STARTTLS are no handshake: the next address is tried.
    host, backup = SmtpHost(tls=_broken()), SmtpHost()
    if fault is not None:
        host.script("STARTTLS", fault)
    async with serving(host), serving(backup):
        with capture_logs() as logs:
            async with lane_to([hop_to(host), hop_to(backup, "mx2.test")], limits=ONE_EACH_SOON) as lane:
                await _sent(lane, 2)
    assert _tls_seen(lane) == [(False, False)] * 2
    fell_back = fault is None or isinstance(fault, Say)
    assert [line["host"] for line in logs if line["event"] == "delivery.tls_fallback"] == ["mx1.test"] * fell_back
    assert host.commands.count("STARTTLS") == 1
    assert (len(host.mails), len(backup.mails)) == ((2, 0) if fell_back else (0, 2))


async def test_a_handshake_that_stalls_ends_in_clear_text() -> None:
    host = SmtpHost(tls=_broken(), stall_handshakes=1)
    async with serving(host), lane_to([hop_to(host)], limits=ONE_EACH_SOON) as lane:
        await _sent(lane, 1)
    assert _tls_seen(lane) == [(False, False)]
    assert host.connections == 2


async def test_a_host_that_went_away_during_the_handshake_is_not_remembered_as_one_without_tls() -> None:
    host = SmtpHost(tls=_broken())
    async with serving(host), lane_to([hop_to(host)], limits=ONE_EACH) as lane:
        host.script("CONNECT", None, CLOSE)
        lane.send(1)
        verdict = await lane.is_shut()
        assert verdict.status == "4.4.2"
        assert len(lane.dialler.memory) == 0


async def test_what_is_remembered_holds_for_all_that_connect(authority: Authority) -> None:
    host = SmtpHost(tls=authority.server("other.test"))
    async with serving(host), lane_to([hop_to(host)], limits=ONE_EACH) as lane:
        lane.dialler.memory.remember("mx1.test", Level.UNVERIFIED, asyncio.get_running_loop().time())
        await _sent(lane, 1)
    assert host.connections == 1
    assert _tls_seen(lane) == [(True, False)]


@pytest.mark.parametrize(
    ("answer", "tls"), [(Say(b"454 4.7.0 no TLS now\r\n"), False), (Say(b"500 5.5.1 what?\r\n"), False)]
)
async def test_a_host_that_takes_its_offer_back_gets_mail_in_clear_text(answer: Fault, tls: bool) -> None:
    host = SmtpHost(tls=_broken())
    host.always("STARTTLS", answer)
    async with serving(host), lane_to([hop_to(host)]) as lane:
        await _sent(lane, 1)
    assert [mail.tls for mail in host.mails] == [tls]
    assert host.connections == 1


# Required.


async def _refused(host: SmtpHost, extra_ca: Authority | None = None) -> Temporary:
    async with (
        serving(host),
        lane_to([hop_to(host)], tls=REQUIRED, extra_ca=extra_ca.file if extra_ca else None, limits=ONE_EACH) as lane,
    ):
        lane.send(1)
        verdict = await lane.is_shut()
        assert len(lane.dialler.memory) == 0
    assert lane.verdicts == []
    assert not any(command.startswith("MAIL") for command in host.commands)
    assert isinstance(verdict, Temporary)
    return verdict


async def test_required_and_not_offered() -> None:
    host = SmtpHost()
    assert (await _refused(host)).status == "4.7.4"
    assert host.connections == 1


async def test_required_and_refused() -> None:
    host = SmtpHost(tls=_broken())
    host.always("STARTTLS", Say(b"454 4.7.0 no TLS now\r\n"))
    verdict = await _refused(host)
    assert verdict.status == "4.7.4"
    assert "454 4.7.0 no TLS now" in verdict.reply


async def test_required_and_a_host_without_extensions() -> None:
    host = SmtpHost()
    host.always("EHLO", Say(b"502 5.5.1 what?\r\n"))
    await _refused(host)
    assert not any(command.startswith("HELO") for command in host.commands)


@pytest.mark.parametrize("name", ["mx2.test", "127.0.0.1", "x.mx1.test", "*.test.mx1"])
async def test_required_and_the_name_of_another(authority: Authority, name: str) -> None:
    verdict = await _refused(SmtpHost(tls=authority.server(name)), authority)
    assert verdict.status == "4.7.5"
    assert "certificate" in verdict.reply


async def test_required_and_an_issuer_that_nobody_trusts(authority: Authority) -> None:
    verdict = await _refused(SmtpHost(tls=authority.server("mx1.test")))
    assert verdict.status == "4.7.5"
    assert "certificate" in verdict.reply


async def test_required_and_a_handshake_that_fails() -> None:
    host = SmtpHost(tls=_broken())
    assert (await _refused(host)).status == "4.7.5"
    assert host.connections == 1


async def test_required_is_not_weakened_by_what_opportunistic_ones_remember() -> None:
    host = SmtpHost(tls=_broken())
    async with serving(host), lane_to([hop_to(host)], tls=REQUIRED) as lane:
        lane.dialler.memory.remember("mx1.test", Level.CLEAR, asyncio.get_running_loop().time())
        lane.send(1)
        verdict = await lane.is_shut()
    assert verdict.status == "4.7.5"
    assert host.mails == []


async def test_required_goes_to_the_next_host_that_is_verified(authority: Authority) -> None:
    bad, good = SmtpHost(tls=authority.server("other.test")), SmtpHost(tls=authority.server("mx2.test"))
    hops_of = (bad, "mx1.test"), (good, "mx2.test")
    async with serving(bad), serving(good):
        hops = [hop_to(host, name) for host, name in hops_of]
        async with lane_to(hops, tls=REQUIRED, extra_ca=authority.file) as lane:
            await _sent(lane, 1)
    assert _tls_seen(lane) == [(True, True)]
    assert (len(bad.mails), len(good.mails)) == (0, 1)


async def test_authorities_that_can_not_be_read_send_nothing(authority: Authority) -> None:
    host = SmtpHost(tls=authority.server("mx1.test"))
    missing = authority.file.with_name("missing.pem")
    async with serving(host), lane_to([hop_to(host)], tls=REQUIRED, extra_ca=missing) as lane:
        with capture_logs() as logs:
            lane.send(1)
            verdict = await lane.is_shut()
    assert verdict.status == "4.7.5"
    assert "authorities" in verdict.reply
    assert "delivery.authorities_unreadable" in [line["event"] for line in logs]
    assert host.mails == []


async def test_authorities_that_can_not_be_read_stop_no_opportunistic_mail(authority: Authority) -> None:
    host = SmtpHost(tls=authority.server("mx1.test"))
    missing = authority.file.with_name("missing.pem")
    async with serving(host), lane_to([hop_to(host)], extra_ca=missing) as lane:
        await _sent(lane, 1)
    assert _tls_seen(lane) == [(True, False)]


# Response injection: what comes behind the 220 in clear text would be read as if it had come in TLS.


@pytest.mark.parametrize("tls", [OPPORTUNISTIC, REQUIRED])
@pytest.mark.parametrize(
    "injected",
    [b"250-evil\r\n250 PIPELINING\r\n", b"250", b"220 again\r\n", b"\x16"],
    ids=["reply", "half", "220", "bytes"],
)
async def test_clear_text_behind_the_220_is_never_interpreted(
    authority: Authority, tls: RouteTls, injected: bytes
) -> None:
    hostile, honest = SmtpHost(tls=authority.server("mx1.test")), SmtpHost(tls=authority.server("mx2.test"))
    async with serving(hostile), serving(honest):
        hostile.always("STARTTLS", Say(b"220 go\r\n" + injected))
        hops = [hop_to(hostile), hop_to(honest, "mx2.test")]
        async with lane_to(hops, tls=tls, extra_ca=authority.file) as lane:
            with capture_logs() as logs:
                await _sent(lane, 1)
    assert hostile.commands == ["EHLO relay.test", "STARTTLS"]  # not a word more, neither in TLS nor in clear text
    assert hostile.connections == 1
    assert len(honest.mails) == 1
    (skipped,) = [line for line in logs if line["event"] == "delivery.address_skipped"]
    assert "clear text behind the answer to STARTTLS" in skipped["tried"][0]


# TLS from the first byte.


@pytest.mark.parametrize(
    ("name", "tls", "expected"),
    [
        ("127.0.0.1", OPPORTUNISTIC, (True, True)),
        ("127.0.0.1", REQUIRED, (True, True)),
        ("other.test", OPPORTUNISTIC, (True, False)),
    ],
)
async def test_implicit_tls(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, name: str, tls: RouteTls, expected: tuple[bool, bool]
) -> None:
    host = SmtpHost(tls=authority.server(name), implicit=True)
    async with serving(host):
        monkeypatch.setattr("sekisho.delivery.opening.IMPLICIT_TLS_PORT", host.port)
        to = Target("127.0.0.1", host.port, tls)
        async with lane_to(to, tls=tls, extra_ca=authority.file) as lane:
            await _sent(lane, 1)
    assert _tls_seen(lane) == [expected]
    assert "STARTTLS" not in host.commands


@pytest.mark.parametrize("tls", [OPPORTUNISTIC, REQUIRED])
async def test_implicit_tls_never_becomes_clear_text(monkeypatch: pytest.MonkeyPatch, tls: RouteTls) -> None:
    host = SmtpHost(tls=_broken(), implicit=True)
    async with serving(host):
        monkeypatch.setattr("sekisho.delivery.opening.IMPLICIT_TLS_PORT", host.port)
        async with lane_to(Target("127.0.0.1", host.port, tls), tls=tls, limits=ONE_EACH) as lane:
            lane.send(1)
            verdict = await lane.is_shut()
    assert verdict.status == "4.7.5"
    assert host.commands == []


async def test_clear_text_in_the_middle_of_the_handshake_is_never_interpreted(authority: Authority) -> None:
    heard: list[bytes] = []

    async def inject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx1.test\r\n")
        heard.append(await reader.readline())
        writer.write(b"250-mx1.test\r\n250 STARTTLS\r\n")
        heard.append(await reader.readline())
        writer.write(b"220 go\r\n")
        await reader.read(1)  # the handshake has begun
        writer.write(b"250-evil\r\n250 PIPELINING\r\n")
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(inject, "127.0.0.1", 0)
    hop = Hop("mx1.test", "127.0.0.1", server.sockets[0].getsockname()[1])
    async with server, lane_to([hop], tls=REQUIRED, extra_ca=authority.file) as lane:
        lane.send(1)
        verdict = await lane.is_shut()
    assert verdict.status == "4.7.5"
    assert b"MAIL" not in b"".join(heard)
