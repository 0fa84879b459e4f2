from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.ids import (
    PARTS_MAX,
    MessageId,
    last_meant,
    message_id_of,
    message_id_text,
    new_message_id,
    parse_message_id,
    random_text_id,
    request_of,
)


@given(st.binary(min_size=16, max_size=16).map(MessageId))
def test_a_printed_message_id_reads_back(message_id: MessageId) -> None:
    text = message_id_text(message_id)

    assert len(text) == 22
    assert parse_message_id(text) == message_id


@given(st.text(max_size=24))
def test_only_the_canonical_spelling_is_an_id(text: str) -> None:
    found = parse_message_id(text)

    assert found is None or message_id_text(found) == text


@pytest.mark.parametrize(
    "text", ["", "A" * 21, "A" * 23, "A" * 21 + "B", "A" * 21 + "=", "é" * 22, "+" * 22, "A" * 20 + "\n\n"]
)
def test_what_is_no_id(text: str) -> None:
    assert parse_message_id(text) is None


def test_ids_sort_by_time_and_carry_their_node() -> None:
    first = new_message_id(1_790_000_000_000, 7, 2**64 - 1)
    second = new_message_id(1_790_000_000_001, 7, 0)

    assert first < second
    assert first[6:8] == (7).to_bytes(2, "big")


@given(st.integers(min_value=1_700_000_000_000, max_value=2**47 - 1))
def test_no_message_id_of_the_next_millennia_starts_with_a_hyphen(now_ms: int) -> None:
    assert not message_id_text(new_message_id(now_ms, 0, 0)).startswith("-")


@given(st.integers(min_value=0, max_value=2**64 - 1), st.integers(min_value=0, max_value=PARTS_MAX - 1))
def test_the_messages_of_a_request_know_it_and_their_number(chance: int, part: int) -> None:
    request = new_message_id(1_790_000_000_000, 7, chance)

    one = message_id_of(request, part)

    assert request_of(one) == (request, part)
    assert request <= one <= last_meant(request)
    assert last_meant(one) == (one if part else message_id_of(request, PARTS_MAX - 1))


def test_random_ids_are_url_safe_and_never_look_like_options() -> None:
    for text in (random_text_id() for _ in range(2_000)):
        assert len(text) == 22
        assert not text.startswith("-")
