"""What is remembered of hosts' TLS, and when the next connection asks for less."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from sekisho.delivery.routes import RouteTls
from sekisho.delivery.tls import (
    CLEAR_TEXT_S,
    REMEMBERED_MAX,
    UNVERIFIED_S,
    AuthoritiesError,
    Level,
    TlsContexts,
    TlsMemory,
    weaker,
)
from sekisho.wire.smtp.dialogue import FailureKind
from tests.fakes.certificates import Authority


@pytest.mark.parametrize(("level", "lasts_s"), [(Level.UNVERIFIED, UNVERIFIED_S), (Level.CLEAR, CLEAR_TEXT_S)])
def test_a_failure_is_remembered_for_a_while(level: Level, lasts_s: float) -> None:
    memory = TlsMemory()
    assert memory.level("mx.test", 0) is Level.VERIFIED
    memory.remember("mx.test", level, 0)
    assert memory.level("mx.test", lasts_s - 1) is level
    assert memory.level("other.test", 0) is Level.VERIFIED
    assert memory.level("mx.test", lasts_s) is Level.VERIFIED
    assert len(memory) == 0


def test_memory_is_bounded_and_forgets_the_oldest() -> None:
    memory = TlsMemory()
    for number in range(REMEMBERED_MAX + 10):
        memory.remember(f"{number}.test", Level.CLEAR, 0)
    assert len(memory) == REMEMBERED_MAX
    assert memory.level("9.test", 0) is Level.VERIFIED
    assert memory.level("10.test", 0) is Level.CLEAR


T, C = FailureKind.TLS, FailureKind.CERTIFICATE
OPPORTUNISTIC = RouteTls.OPPORTUNISTIC


@pytest.mark.parametrize(
    ("tls", "level", "kind", "implicit", "expected"),
    [
        (OPPORTUNISTIC, Level.VERIFIED, C, False, Level.UNVERIFIED),
        (OPPORTUNISTIC, Level.VERIFIED, T, False, Level.CLEAR),
        (OPPORTUNISTIC, Level.UNVERIFIED, T, False, Level.CLEAR),
        (OPPORTUNISTIC, Level.UNVERIFIED, C, False, Level.CLEAR),
        (OPPORTUNISTIC, Level.VERIFIED, C, True, Level.UNVERIFIED),
        (OPPORTUNISTIC, Level.UNVERIFIED, T, True, None),  # nobody speaks clear text on that port
        (OPPORTUNISTIC, Level.CLEAR, T, False, None),
    ],
)
def test_opportunistic_asks_for_less(
    tls: RouteTls, level: Level, kind: FailureKind, implicit: bool, expected: Level | None
) -> None:
    assert weaker(tls, level, kind, implicit=implicit) is expected


@pytest.mark.parametrize("kind", FailureKind)
@pytest.mark.parametrize("level", Level)
def test_required_never_asks_for_less(kind: FailureKind, level: Level) -> None:
    assert weaker(RouteTls.REQUIRED, level, kind, implicit=False) is None


@pytest.mark.parametrize("kind", [kind for kind in FailureKind if kind not in (T, C)])
def test_only_trouble_with_tls_is_a_reason(kind: FailureKind) -> None:
    assert weaker(OPPORTUNISTIC, Level.VERIFIED, kind, implicit=False) is None


async def test_contexts_are_made_once_and_as_they_are_meant(authority: Authority) -> None:
    contexts = TlsContexts(authority.file)
    verified, unverified = await contexts.get(Level.VERIFIED), await contexts.get(Level.UNVERIFIED)
    assert await contexts.get(Level.VERIFIED) is verified
    assert (verified.verify_mode, verified.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert (unverified.verify_mode, unverified.check_hostname) == (ssl.CERT_NONE, False)
    assert {verified.minimum_version, unverified.minimum_version} == {ssl.TLSVersion.TLSv1_2}


async def test_authorities_that_can_not_be_read_are_read_again_later(tmp_path: Path, authority: Authority) -> None:
    file = tmp_path / "late.pem"
    contexts = TlsContexts(file)
    with pytest.raises(AuthoritiesError):
        await contexts.get(Level.VERIFIED)
    file.write_bytes(authority.file.read_bytes())
    await contexts.get(Level.VERIFIED)
