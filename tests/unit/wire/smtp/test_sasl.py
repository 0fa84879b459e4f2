from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.smtp.sasl import (
    PASSWORD,
    USERNAME,
    Challenge,
    Credentials,
    LoginExchange,
    PlainExchange,
    SaslFault,
    Step,
    begin,
    login_responses,
    plain_response,
)

WHO = Credentials(b"apikey", b"SG.x")


@pytest.mark.parametrize(
    ("response", "step"),
    [
        (b"\0apikey\0SG.x", WHO),
        (b"apikey\0apikey\0SG.x", WHO),
        (b"other\0apikey\0SG.x", SaslFault.OTHER_IDENTITY),
        (b"\0\0", Credentials(b"", b"")),
        (b"\0apikey\0", Credentials(b"apikey", b"")),
        (b"\0apikey", SaslFault.ENCODING),
        (b"\0apikey\0SG\0x", SaslFault.ENCODING),
        (b"", SaslFault.ENCODING),
    ],
)
def test_plain_with_and_without_initial_response(response: bytes, step: Step) -> None:
    assert PlainExchange().start(b64encode(response)) == step
    exchange = PlainExchange()
    assert exchange.start(None) == Challenge(b"")
    assert exchange.respond(b64encode(response)) == step


@pytest.mark.parametrize(
    "line",
    [
        b"A",
        b"AAA",
        b"AAAA=",
        b"AAAA====",
        b"====",
        b"AA=A",
        b"=AAA",
        b"AA AA",
        b" AAAA",
        b"AAAA ",
        b"AA\tAA",
        b"AA-_",
        b"AAAA\x00",
        b"\xff\xff\xff\xff",
    ],
)
def test_base64_is_read_strictly(line: bytes) -> None:
    assert PlainExchange().respond(line) is SaslFault.ENCODING
    assert LoginExchange().respond(line) is SaslFault.ENCODING


def test_login_asks_for_both() -> None:
    exchange = LoginExchange()
    assert exchange.start(None) == Challenge(USERNAME)
    assert exchange.respond(b64encode(b"apikey")) == Challenge(PASSWORD)
    assert exchange.respond(b64encode(b"SG.x")) == WHO


def test_login_takes_the_name_as_initial_response() -> None:
    exchange = LoginExchange()
    assert exchange.start(b64encode(b"apikey")) == Challenge(PASSWORD)
    assert exchange.respond(b64encode(b"SG.x")) == WHO


def test_login_asks_again_after_an_empty_initial_response() -> None:
    assert LoginExchange().start(b"") == Challenge(USERNAME)


def test_both_can_be_cancelled() -> None:
    assert PlainExchange().respond(b"*") is SaslFault.CANCELLED
    assert PlainExchange().start(b"*") is SaslFault.CANCELLED
    assert LoginExchange().respond(b"*") is SaslFault.CANCELLED


def test_other_mechanisms_do_not_begin() -> None:
    assert begin("CRAM-MD5") is SaslFault.MECHANISM
    assert begin("") is SaslFault.MECHANISM
    assert isinstance(begin("PLAIN"), PlainExchange)
    assert isinstance(begin("LOGIN"), LoginExchange)


def test_credentials_do_not_show() -> None:
    assert "SG" not in repr(WHO)
    assert "apikey" not in repr(WHO)


without_nul = st.binary(max_size=40).map(lambda b: b.replace(b"\0", b""))


@given(without_nul, without_nul)
def test_what_the_client_side_sends_the_server_side_reads(username: bytes, password: bytes) -> None:
    expected = Credentials(username, password)
    assert PlainExchange().start(plain_response(username, password)) == expected
    exchange = LoginExchange()
    first, second = login_responses(username, password)
    assert exchange.respond(first) == Challenge(PASSWORD)
    assert exchange.respond(second) == expected


@given(st.lists(st.binary(max_size=40), max_size=3), st.sampled_from(["PLAIN", "LOGIN"]))
def test_no_response_raises(lines: list[bytes], mechanism: str) -> None:
    exchange = begin(mechanism)
    assert not isinstance(exchange, SaslFault)
    for line in lines:
        assert isinstance(exchange.respond(line), Step)
