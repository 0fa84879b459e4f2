from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable

import pytest

from sekisho.secret import Secret

WORD = "SG.open-sesame"


def test_only_reveal_gives_it_out() -> None:
    assert Secret(WORD).reveal() == WORD


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, "{:>40}".format, "{!r}".format, lambda secret: repr([secret])], ids=range(6)
)
def test_nothing_that_prints_shows_it(show: Callable[[object], str]) -> None:
    assert WORD not in show(Secret(WORD))


def test_it_cannot_leave_by_serialisation() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret(WORD))
    with pytest.raises(TypeError):
        pickle.dumps(Secret(WORD))
    with pytest.raises(TypeError):
        copy.copy(Secret(WORD))


def test_secrets_compare_by_value_and_only_with_secrets() -> None:
    assert Secret(WORD) == Secret(WORD)
    assert Secret(WORD) != Secret("other")
    assert Secret(WORD) != WORD
    assert Secret(b"a") == Secret(b"a")


def test_a_secret_is_no_dictionary_key() -> None:
    with pytest.raises(TypeError):
        hash(Secret(WORD))
