from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.secret import Secret
from sekisho.service import control
from sekisho.service.certificates import Certificate
from sekisho.service.config import Source
from sekisho.service.control import Drain, Reload

CERTIFICATE = Certificate(b"chain\n", Secret(b"key\n"), ("a.example",), 1, 2, self_signed=True)


@given(
    text=st.text(st.characters(codec="utf-8")),
    environ=st.dictionaries(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"))),
    passwords=st.lists(st.none() | st.text(st.characters(codec="utf-8"))),
    client_secret=st.none() | st.text(st.characters(codec="utf-8")),
)
def test_a_reload_arrives_as_it_was_sent_in_one_line(
    text: str, environ: dict[str, str], passwords: list[str | None], client_secret: str | None
) -> None:
    secrets = tuple(None if word is None else Secret(word) for word in passwords)
    secret = None if client_secret is None else Secret(client_secret)
    order = Reload(Source(text, "f", Path("/base"), environ, Path("/data"), secrets, secret), CERTIFICATE)
    line = control.encode_order(order)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert control.decode_order(line[:-1]) == order


def test_a_drain_arrives_as_it_was_sent() -> None:
    assert control.decode_order(control.encode_order(Drain(deadline_s=2.5)).strip()) == Drain(deadline_s=2.5)


@pytest.mark.parametrize("line", [b"", b"{}", b'{"type":"nope"}', b"[1]", b'{"type":"drain"}', b"\xff"])
def test_nonsense_from_the_supervisor_is_a_fault(line: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        control.decode_order(line)


def test_only_ready_is_heard_from_a_worker() -> None:
    assert control.is_ready(control.encode_ready().strip())


@given(st.binary(max_size=60))
def test_a_worker_that_was_taken_over_can_say_nothing_else(line: bytes) -> None:
    assert control.is_ready(line) is False
