from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.delivery.answers import READ_MAX, means_later, read, words
from sekisho.delivery.wordings import WORDINGS
from sekisho.queue.model import BounceType, Classification
from sekisho.wire.smtp.dialogue import Answer, Stage
from sekisho.wire.smtp.reply import Reply, ReplyParser, reply
from tests.unit.delivery.answerbook import BOOK

BOUNCE, BLOCKED = BounceType.BOUNCE, BounceType.BLOCKED
PHRASES = tuple(itertools.chain.from_iterable(row.phrases for row in WORDINGS))


def heard(line: str) -> Reply:
    (found,) = ReplyParser().feed(line.encode() + b"\r\n")
    assert isinstance(found, Reply)
    return found


CASES = [(line, *meaning) for meaning, lines in BOOK.items() for line in lines]


@pytest.mark.parametrize(("line", "type_", "classification"), CASES)
def test_what_hosts_write_is_understood(line: str, type_: BounceType, classification: Classification) -> None:
    reading = read(Answer(Stage.RCPT, heard(line)), shared=False)
    assert (reading.type, reading.classification) == (type_, classification)


def test_every_phrase_decides_some_answer() -> None:
    decided = set()
    for line, _, _ in CASES:
        text = words(heard(line))
        decided.add(next((phrase for phrase in PHRASES if phrase in text), None))
    assert sorted(set(PHRASES) - decided) == []


def test_phrases_can_match() -> None:
    for phrase in PHRASES:
        assert phrase == " ".join(phrase.lower().split()) or phrase.endswith(" "), phrase
        assert "@" not in phrase


def test_phrases_about_us_stand_first() -> None:
    kinds = [row.type for row in WORDINGS]
    assert kinds == sorted(kinds)  # "blocked" < "bounce"


@pytest.mark.parametrize(
    ("stage", "shared", "line", "expected"),
    [
        (Stage.CONTENT, False, "550 5.1.1 who?", BOUNCE),
        (Stage.CONTENT, False, "554 delivery error: dd This user doesn't have a yahoo.com account", BOUNCE),
        (Stage.DATA, False, "550 5.1.1 who?", BOUNCE),
        (Stage.CONTENT, True, "550 5.1.1 who?", BLOCKED),
        (Stage.DATA, True, "550 5.1.1 who?", BLOCKED),
        (Stage.CONTENT, False, "550 5.7.1 No such user!", BLOCKED),
        (Stage.CONTENT, False, "550 no", BLOCKED),
        (Stage.RCPT, True, "550 5.1.1 who?", BOUNCE),
        (Stage.MAIL, False, "550 5.1.1 user unknown", BLOCKED),
        (Stage.LOCAL, False, "550 5.1.1 user unknown", BLOCKED),
        (Stage.GREETING, False, "550 5.1.1 user unknown", BLOCKED),
    ],
)
def test_the_stage_says_whom_it_can_be_about(stage: Stage, shared: bool, line: str, expected: BounceType) -> None:
    assert read(Answer(stage, heard(line)), shared=shared).type is expected


def test_a_bad_address_is_no_word_for_what_is_not_the_recipients() -> None:
    reading = read(Answer(Stage.MAIL, heard("550 5.1.1 user unknown")), shared=False)
    assert reading.classification is Classification.UNCLASSIFIED


def test_no_address_is_taken_for_a_reason() -> None:
    line = "550 5.1.1 <blacklist@spamhaus.test>... (throttle@x.test) who?"
    assert read(Answer(Stage.RCPT, heard(line)), shared=False).type is BOUNCE
    line = "550 <no@mx.test> <invalid.mailbox@mx.test> no"
    assert read(Answer(Stage.RCPT, heard(line)), shared=False).type is BLOCKED


def test_a_reason_may_stand_on_two_lines_but_not_beyond_the_bound() -> None:
    two = Reply(550, "5.7.1", ("No such", "  USER here"))
    assert read(Answer(Stage.RCPT, two), shared=False).type is BOUNCE
    far = Reply(550, "5.7.1", ("." * READ_MAX, "no such user"))
    assert read(Answer(Stage.RCPT, far), shared=False).type is BLOCKED


@pytest.mark.parametrize(
    ("stage", "shared", "line", "later"),
    [
        (Stage.RCPT, False, "552 5.5.3 no more", True),
        (Stage.RCPT, False, "550 5.5.3 no more", True),
        (Stage.RCPT, False, "552 Too many recipients", True),
        (Stage.RCPT, True, "552 no", True),
        (Stage.RCPT, False, "552 no", False),
        (Stage.RCPT, True, "552 5.2.2 full", False),
        (Stage.RCPT, True, "550 5.1.1 who?", False),
        (Stage.RCPT, True, "452 4.5.3 Too many recipients", False),  # temporary anyway
        (Stage.CONTENT, True, "552 Too many recipients", False),
        (Stage.MAIL, True, "552 no", False),
    ],
)
def test_too_many_recipients_is_later_whatever_the_code(stage: Stage, shared: bool, line: str, later: bool) -> None:
    assert means_later(Answer(stage, heard(line)), shared=shared) is later


TEXT = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from([*PHRASES, "no", "\0", "<a@b>"]), max_size=6).map(" ".join),
)
STATUS = st.one_of(st.just(""), st.builds("5.{}.{}".format, st.integers(0, 999), st.integers(0, 999)))
REPLIES = st.builds(reply, st.integers(400, 599), STATUS, TEXT, TEXT)


@given(REPLIES, st.sampled_from(Stage), st.booleans())
def test_only_what_may_be_about_a_recipient_bounces(answer: Reply, stage: Stage, shared: bool) -> None:
    reading = read(Answer(stage, answer), shared=shared)
    if reading.type is BOUNCE:
        assert stage is Stage.RCPT or (stage in {Stage.DATA, Stage.CONTENT} and not shared)
        assert stage is Stage.RCPT or not answer.enhanced.startswith(("5.7.", "5.6.", "5.3."))
        assert reading.classification in {Classification.INVALID_ADDRESS, Classification.MAILBOX_UNAVAILABLE}


ABOUT_US = tuple(phrase for row in WORDINGS if row.type is BLOCKED for phrase in row.phrases)


@given(REPLIES, st.sampled_from(ABOUT_US), st.booleans())
def test_a_word_about_us_never_bounces(answer: Reply, phrase: str, upper: bool) -> None:
    lines = (phrase.upper() if upper else phrase, *answer.lines)
    assert read(Answer(Stage.RCPT, Reply(answer.code, answer.enhanced, lines)), shared=False).type is BLOCKED
