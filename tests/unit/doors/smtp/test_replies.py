from __future__ import annotations

import pytest

from sekisho.doors.smtp.replies import EXPELLED, Stage, closes, queued, to_smtp
from sekisho.ids import MessageId
from sekisho.refusal import Reason, Refused

TEMPORARY = {
    Reason.AUTH_UNAVAILABLE,
    Reason.AUTH_ADDRESS,
    Reason.AUTH_ENDED,
    Reason.AUTH_HELD,
    Reason.AUTH_THROTTLED,
    Reason.RECIPIENTS_TOO_MANY,
    Reason.RATE_EXCEEDED,
    Reason.CREDITS_EXCEEDED,
    Reason.DAILY_EXCEEDED,
    Reason.STORAGE_FULL,
    Reason.STORAGE_UNAVAILABLE,
}


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_reply_with_a_fitting_status(reason: Reason, stage: Stage) -> None:
    answer = to_smtp(Refused(reason), stage)
    assert answer.code // 100 in (4, 5)
    assert answer.enhanced.split(".")[0] == str(answer.code // 100)
    assert answer.text.isascii()
    if stage is Stage.AUTH:
        assert answer.is_temporary == (reason in TEMPORARY)


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Reason.AUTH_BAD_USERNAME, "535 5.7.8"),
        (Reason.AUTH_BAD_KEY, "535 5.7.8"),
        (Reason.AUTH_ADDRESS, "451 4.7.1"),
        (Reason.AUTH_UNSCOPED, "550 5.7.1"),
        (Reason.AUTH_UNAVAILABLE, "454 4.7.0"),
        (Reason.RECIPIENT_LITERAL, "550 5.1.2"),
        (Reason.RECIPIENTS_TOO_MANY, "452 4.5.3"),
        (Reason.STORAGE_FULL, "452 4.3.1"),
        (Reason.FROM_UNVERIFIED, "550 5.7.1"),
        (Reason.MESSAGE_LOOP, "554 5.4.6"),
        (Reason.SMTPAPI_UNSUPPORTED, "550 5.6.0"),
    ],
)
def test_recorded_codes(reason: Reason, code: str) -> None:
    assert str(to_smtp(Refused(reason), Stage.AUTH)).startswith(code)


def test_a_disabled_account_sounds_like_a_revoked_key() -> None:
    assert to_smtp(Refused(Reason.AUTH_DISABLED), Stage.AUTH) == to_smtp(Refused(Reason.AUTH_BAD_KEY), Stage.AUTH)


@pytest.mark.parametrize("reason", [Reason.AUTH_BAD_KEY, Reason.AUTH_DISABLED, Reason.AUTH_ENDED, Reason.AUTH_ADDRESS])
def test_a_pass_that_ended_ends_an_open_session(reason: Reason) -> None:
    assert to_smtp(Refused(reason), Stage.ENVELOPE) == EXPELLED
    assert to_smtp(Refused(Reason.AUTH_UNAVAILABLE), Stage.CONTENT).code == 421


def test_a_login_that_failed_learns_no_detail() -> None:
    for reason in Reason:
        if reason.value.startswith("auth."):
            assert "SECRET" not in str(to_smtp(Refused(reason, "SECRET"), Stage.AUTH))


def test_a_detail_cannot_break_the_reply() -> None:
    answer = to_smtp(Refused(Reason.SMTPAPI_UNSUPPORTED, "a\r\n250 ok\x1bé" + "x" * 5000), Stage.CONTENT)
    wire = bytes(answer)
    assert wire.count(b"\r\n") == 1
    assert wire.isascii()
    assert len(wire) < 512
    assert b"a\\r\\n250 ok\\x1b\\xe9" in wire


def test_only_what_the_vendor_closes_behind_closes() -> None:
    assert {reason for reason in Reason if closes(Refused(reason), Stage.AUTH)} == {Reason.AUTH_ADDRESS}


def test_the_queue_id_is_named() -> None:
    assert bytes(queued(MessageId(bytes(16)))) == b"250 2.0.0 Ok: queued as AAAAAAAAAAAAAAAAAAAAAA\r\n"
