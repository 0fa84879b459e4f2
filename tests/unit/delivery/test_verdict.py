from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.delivery.verdict import REPLY_MAX, Temporary, of_answer, of_failure, one_line
from sekisho.queue.model import Bounced, BounceType, Delivered, Remote
from sekisho.wire.smtp.dialogue import Answer, Failure, FailureKind, Stage
from sekisho.wire.smtp.reply import reply

HERE = Remote(host="mx.test", ip="192.0.2.1")
BOUNCE, BLOCKED = BounceType.BOUNCE, BounceType.BLOCKED


def test_only_an_accepted_content_is_delivered() -> None:
    assert of_answer(Answer(Stage.CONTENT, reply(250, "2.0.0", "Ok")), HERE) == Delivered("250 2.0.0 Ok", HERE)


@pytest.mark.parametrize(
    ("stage", "code", "status", "expected"),
    [
        (Stage.RCPT, 550, "5.1.1", BOUNCE),
        (Stage.RCPT, 550, "5.1.10", BOUNCE),
        (Stage.RCPT, 553, "5.1.7", BLOCKED),
        (Stage.RCPT, 550, "5.1.8", BLOCKED),
        (Stage.RCPT, 550, "5.2.1", BOUNCE),
        (Stage.RCPT, 552, "5.2.2", BLOCKED),
        (Stage.RCPT, 550, "5.7.1", BLOCKED),
        (Stage.RCPT, 550, "5.4.1", BLOCKED),
        (Stage.RCPT, 550, "5.0.0", BOUNCE),
        (Stage.RCPT, 550, "", BOUNCE),
        (Stage.RCPT, 551, "", BOUNCE),
        (Stage.RCPT, 553, "", BOUNCE),
        (Stage.RCPT, 552, "", BLOCKED),
        (Stage.RCPT, 554, "", BLOCKED),
        (Stage.MAIL, 550, "", BLOCKED),
        (Stage.MAIL, 550, "5.1.1", BLOCKED),
        (Stage.DATA, 554, "", BLOCKED),
        (Stage.DATA, 550, "5.1.1", BOUNCE),
        (Stage.CONTENT, 550, "", BLOCKED),
        (Stage.CONTENT, 550, "5.1.1", BOUNCE),
        (Stage.CONTENT, 554, "5.6.0", BLOCKED),
        (Stage.LOCAL, 554, "5.6.3", BLOCKED),
        (Stage.LOCAL, 552, "5.3.4", BLOCKED),
        (Stage.RCPT, 599, "5.1.1", BOUNCE),
    ],
)
def test_permanent_refusals(stage: Stage, code: int, status: str, expected: BounceType) -> None:
    verdict = of_answer(Answer(stage, reply(code, status, "no")), HERE)
    assert isinstance(verdict, Bounced)
    assert (verdict.type, verdict.status, verdict.remote) == (expected, status, HERE)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.CONTENT])
def test_temporary_refusals(stage: Stage) -> None:
    verdict = of_answer(Answer(stage, reply(452, "4.2.2", "full")), HERE)
    assert verdict == Temporary("452 4.2.2 full", "4.2.2", HERE)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
def test_a_yes_to_anything_but_the_content_is_no_delivery(stage: Stage) -> None:
    assert isinstance(of_answer(Answer(stage, reply(250, "", "ok")), HERE), Temporary)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_no_failed_connection_bounces(kind: FailureKind) -> None:
    verdict = of_failure(Failure(kind, "because"), HERE)
    assert "because" in verdict.reply
    assert verdict.remote == HERE


@pytest.mark.parametrize(
    ("code", "status", "expected"), [(421, "4.3.2", "4.3.2"), (454, "", ""), (535, "5.7.8", ""), (554, "5.7.1", "")]
)
def test_a_refused_connection_is_temporary_whatever_the_code(code: int, status: str, expected: str) -> None:
    heard = reply(code, status, "no")
    verdict = of_failure(Failure(FailureKind.REFUSED, str(heard), heard), HERE)
    assert (verdict.reply, verdict.status) == (str(heard), expected)


@given(st.text(max_size=2000))
def test_what_is_kept_is_one_short_printable_line(text: str) -> None:
    kept = one_line(text)
    assert len(kept) <= REPLY_MAX
    assert kept.isprintable()
