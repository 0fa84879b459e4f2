from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.delivery.verdict import REPLY_MAX, Temporary, of_answer, of_failure, one_line
from sekisho.queue.model import Bounced, BounceType, Classification, Delivered, Remote
from sekisho.wire.smtp.dialogue import Answer, Failure, FailureKind, Stage
from sekisho.wire.smtp.reply import Reply, reply

HERE = Remote(host="mx.test", ip="192.0.2.1")
BOUNCE, BLOCKED = BounceType.BOUNCE, BounceType.BLOCKED


def test_only_an_accepted_content_is_delivered() -> None:
    assert of_answer(Answer(Stage.CONTENT, reply(250, "2.0.0", "Ok")), HERE) == Delivered("250 2.0.0 Ok", HERE)


@pytest.mark.parametrize(
    ("stage", "answer", "type_", "classification"),
    [
        (Stage.RCPT, reply(550, "5.1.1", "no"), BOUNCE, Classification.INVALID_ADDRESS),
        (Stage.RCPT, reply(550, "", "user unknown"), BOUNCE, Classification.INVALID_ADDRESS),
        (Stage.RCPT, reply(550, "", "no"), BLOCKED, Classification.UNCLASSIFIED),
        (Stage.RCPT, reply(552, "5.2.2", "full"), BLOCKED, Classification.MAILBOX_UNAVAILABLE),
        (Stage.RCPT, reply(552, "", "no"), BLOCKED, Classification.MAILBOX_UNAVAILABLE),
        (Stage.MAIL, reply(550, "5.1.1", "no"), BLOCKED, Classification.UNCLASSIFIED),
        (Stage.CONTENT, reply(550, "5.1.1", "no"), BOUNCE, Classification.INVALID_ADDRESS),
        (Stage.LOCAL, reply(554, "5.6.3", "no"), BLOCKED, Classification.CONTENT),
        (Stage.LOCAL, reply(552, "5.3.4", "no"), BLOCKED, Classification.CONTENT),
    ],
)
def test_permanent_refusals(stage: Stage, answer: Reply, type_: BounceType, classification: Classification) -> None:
    verdict = of_answer(Answer(stage, answer), HERE)
    assert verdict == Bounced(str(answer), type_, answer.enhanced, HERE, classification)


def test_what_several_share_is_nobodys_bounce() -> None:
    answer = Answer(Stage.CONTENT, reply(550, "5.1.1", "no"))
    verdict = of_answer(answer, HERE, shared=True)
    assert isinstance(verdict, Bounced)
    assert verdict.type is BLOCKED


def test_too_many_recipients_is_temporary_whatever_the_code() -> None:
    verdict = of_answer(Answer(Stage.RCPT, reply(552, "", "no more")), HERE, shared=True)
    assert verdict == Temporary("552 no more", "4.5.3", HERE, Classification.FREQUENCY)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA, Stage.CONTENT])
def test_temporary_refusals(stage: Stage) -> None:
    verdict = of_answer(Answer(stage, reply(452, "4.2.2", "full")), HERE)
    assert verdict == Temporary("452 4.2.2 full", "4.2.2", HERE, Classification.MAILBOX_UNAVAILABLE)


@pytest.mark.parametrize("stage", [Stage.MAIL, Stage.RCPT, Stage.DATA])
def test_a_yes_to_anything_but_the_content_is_no_delivery(stage: Stage) -> None:
    assert isinstance(of_answer(Answer(stage, reply(250, "", "ok")), HERE), Temporary)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_no_failed_connection_bounces(kind: FailureKind) -> None:
    verdict = of_failure(Failure(kind, "because"), HERE)
    assert "because" in verdict.reply
    assert verdict.remote == HERE
    assert verdict.classification is Classification.TECHNICAL


@pytest.mark.parametrize(
    ("code", "status", "expected"), [(421, "4.3.2", "4.3.2"), (454, "", ""), (535, "5.7.8", ""), (554, "5.7.1", "")]
)
def test_a_refused_connection_is_temporary_whatever_the_code(code: int, status: str, expected: str) -> None:
    heard = reply(code, status, "no")
    verdict = of_failure(Failure(FailureKind.REFUSED, str(heard), heard), HERE)
    assert (verdict.reply, verdict.status) == (str(heard), expected)


def test_a_greeting_tells_why_we_are_not_wanted() -> None:
    heard = reply(554, "", "192.0.2.1 is on our blacklist")
    assert of_failure(Failure(FailureKind.REFUSED, str(heard), heard), HERE).classification is Classification.REPUTATION


@given(st.text(max_size=2000))
def test_what_is_kept_is_one_short_printable_line(text: str) -> None:
    kept = one_line(text)
    assert len(kept) <= REPLY_MAX
    assert kept.isprintable()
