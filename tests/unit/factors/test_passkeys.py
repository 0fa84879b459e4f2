from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.factors.passkeys import (
    ANSWER_MAX,
    Known,
    NotProved,
    RelyingParty,
    ask_to_make,
    ask_to_show,
    check_made,
    check_shown,
    relying_party,
    shown,
)
from sekisho.ids import UserId
from tests.fakes.authenticator import Authenticator, decode, encode

RP = RelyingParty("relay.example.net", "https://relay.example.net")
ANN = UserId(7)


def made_by(device: Authenticator) -> bytes:
    """Make a passkey; its public key."""
    asked = ask_to_make(RP, ANN, user_name="ann", rp_name="Sekisho", known=())
    return check_made(device.make(asked.options), rp=RP, challenge=asked.challenge).public_key


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://relay.example.net", RP),
        ("https://relay.example.net:443/", RP),
        ("https://relay.example.net:8443/x", RelyingParty("relay.example.net", "https://relay.example.net:8443")),
        ("http://localhost:8080", RelyingParty("localhost", "http://localhost:8080")),
        ("http://localhost", RelyingParty("localhost", "http://localhost")),
        ("http://relay.example.net", None),
        ("http://localhost.example.net", None),
        ("https://192.0.2.1:8443", None),
        ("https://[2001:db8::1]", None),
        ("https://", None),
    ],
)
def test_as_what_browsers_know_the_server(url: str, found: RelyingParty | None) -> None:
    assert relying_party(url) == found


def test_what_is_asked_for_a_new_one() -> None:
    asked = ask_to_make(RP, ANN, user_name="ann", rp_name="Sekisho", known=[Known(b"old", ("usb",))])
    options = json.loads(asked.options)
    assert options["rp"] == {"id": RP.id, "name": "Sekisho"}
    assert options["user"]["name"] == "ann"
    assert b"ann" not in decode(options["user"]["id"])
    assert decode(options["challenge"]) == asked.challenge
    assert options["excludeCredentials"] == [{"id": encode(b"old"), "type": "public-key", "transports": ["usb"]}]
    assert options["attestation"] == "none"
    assert options["authenticatorSelection"]["residentKey"] == "preferred"


@pytest.mark.parametrize(("alone", "verification"), [(True, "required"), (False, "preferred")])
def test_what_is_asked_of_a_known_one(alone: bool, verification: str) -> None:
    asked = ask_to_show(RP, known=() if alone else [Known(b"mine", ())], alone=alone)
    options = json.loads(asked.options)
    assert options["userVerification"] == verification
    assert options["allowCredentials"] == ([] if alone else [{"id": encode(b"mine"), "type": "public-key"}])


def test_challenges_are_new() -> None:
    assert len({ask_to_show(RP, known=(), alone=True).challenge for _ in range(20)}) == 20


def test_made() -> None:
    device = Authenticator(RP, backed_up=True)
    asked = ask_to_make(RP, ANN, user_name="ann", rp_name="Sekisho", known=())
    made = check_made(device.make(asked.options), rp=RP, challenge=asked.challenge)
    assert (made.credential_id, made.sign_count, made.backed_up) == (device.credential_id, 0, True)
    assert made.transports == ("nfc", "usb")  # and none that nobody knows


@pytest.mark.parametrize("alone", [True, False])
def test_shown(alone: bool) -> None:
    device = Authenticator(RP)
    key = made_by(device)
    asked = ask_to_show(RP, known=(), alone=alone)
    answer = device.show(asked.options)
    claim = shown(answer)
    assert (claim.credential_id, claim.user_id) == (device.credential_id, ANN)
    proved = check_shown(answer, rp=RP, challenge=asked.challenge, public_key=key, alone=alone)
    assert (proved.sign_count, proved.backed_up) == (1, False)


def test_an_authenticator_need_not_tell_whose_its_key_is() -> None:
    device = Authenticator(RP, tells_user=False)
    made_by(device)
    assert shown(device.show(ask_to_show(RP, known=(), alone=False).options)).user_id is None


LIES: dict[str, dict[str, Any]] = {
    "another origin": {"origin": "https://relay.example.net.evil.example"},
    "a subdomain": {"origin": "https://x.relay.example.net"},
    "clear text": {"origin": "http://relay.example.net"},
    "another port": {"origin": "https://relay.example.net:8443"},
    "another relying party": {"rp_id": "example.net"},
    "in a frame": {"cross_origin": True},
    "nobody was there": {"present": False},
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_about_a_new_one(lie: str) -> None:
    asked = ask_to_make(RP, ANN, user_name="ann", rp_name="Sekisho", known=())
    with pytest.raises(NotProved):
        check_made(Authenticator(RP, **LIES[lie]).make(asked.options), rp=RP, challenge=asked.challenge)


@pytest.mark.parametrize("lie", LIES)
def test_lies_of_a_known_one(lie: str) -> None:
    device = Authenticator(RP)
    key = made_by(device)
    for name, value in LIES[lie].items():
        setattr(device, name, value)
    asked = ask_to_show(RP, known=(), alone=False)
    with pytest.raises(NotProved):
        check_shown(device.show(asked.options), rp=RP, challenge=asked.challenge, public_key=key, alone=False)


def test_alone_its_owner_must_have_been_verified() -> None:
    device = Authenticator(RP, verified=False)
    key = made_by(device)
    asked = ask_to_show(RP, known=(), alone=True)
    answer = device.show(asked.options)
    with pytest.raises(NotProved, match="verif"):
        check_shown(answer, rp=RP, challenge=asked.challenge, public_key=key, alone=True)
    # After a password it is one factor of two.
    check_shown(answer, rp=RP, challenge=asked.challenge, public_key=key, alone=False)


def test_an_answer_is_good_for_its_challenge_only() -> None:
    device = Authenticator(RP)
    key = made_by(device)
    before, now = (ask_to_show(RP, known=(), alone=True) for _ in range(2))
    answer = device.show(before.options)
    with pytest.raises(NotProved, match="challenge"):
        check_shown(answer, rp=RP, challenge=now.challenge, public_key=key, alone=True)


def test_another_key_proves_nothing() -> None:
    device, other = Authenticator(RP), Authenticator(RP)
    made_by(device)
    asked = ask_to_show(RP, known=(), alone=False)
    answer = device.show(asked.options)
    with pytest.raises(NotProved):
        check_shown(answer, rp=RP, challenge=asked.challenge, public_key=made_by(other), alone=False)


def test_a_new_one_is_no_proof_and_a_proof_no_new_one() -> None:
    device = Authenticator(RP)
    making = ask_to_make(RP, ANN, user_name="ann", rp_name="Sekisho", known=())
    showing = ask_to_show(RP, known=(), alone=True)
    with pytest.raises(NotProved):
        shown(device.make(making.options))
    with pytest.raises(NotProved):
        check_made(device.show(showing.options), rp=RP, challenge=showing.challenge)


def good_answer() -> dict[str, Any]:
    device = Authenticator(RP)
    answer: dict[str, Any] = json.loads(device.make(ask_to_make(RP, ANN, user_name="a", rp_name="S", known=()).options))
    return answer


def _spoil(change: Callable[[dict[str, Any]], object]) -> str:
    answer = good_answer()
    change(answer)
    return json.dumps(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "null",
        "[]",
        "{}",
        '"text"',
        "[" * 10_000,
        " " * (ANSWER_MAX + 1),
        _spoil(lambda answer: answer.update(id=7)),
        _spoil(lambda answer: answer.update(type="password")),
        _spoil(lambda answer: answer.update(authenticatorAttachment="glue")),
        _spoil(lambda answer: answer["response"].update(clientDataJSON=encode(b"\xff"))),
        _spoil(lambda answer: answer["response"].update(clientDataJSON=encode(b"[]"))),
        _spoil(lambda answer: answer["response"].update(clientDataJSON="é")),
        _spoil(lambda answer: answer["response"].update(attestationObject=encode(b"\x81" * 5000 + b"\x00"))),
        _spoil(lambda answer: answer["response"].update(attestationObject=encode(b"\xa0"))),
        _spoil(lambda answer: answer["response"].pop("attestationObject")),
    ],
)
def test_nonsense_proves_nothing(answer: str) -> None:
    with pytest.raises(NotProved):
        check_made(answer, rp=RP, challenge=b"c" * 32)
    with pytest.raises(NotProved):
        shown(answer)
    with pytest.raises(NotProved):
        check_shown(answer, rp=RP, challenge=b"c" * 32, public_key=b"", alone=False)


@given(st.data())
def test_no_answer_does_more_than_not_prove(data: st.DataObject) -> None:
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=20), lambda some: st.lists(some, max_size=3)
    )
    blobs = st.binary(max_size=200).map(encode) | json_values
    names = ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle", "transports"]
    response = data.draw(st.fixed_dictionaries({}, optional=dict.fromkeys(names, blobs)) | json_values)
    text = json.dumps({"id": "AAAA", "rawId": "AAAA", "type": "public-key", "response": response})
    for look in (
        lambda: check_made(text, rp=RP, challenge=b"c"),
        lambda: check_shown(text, rp=RP, challenge=b"c", public_key=b"\x04", alone=True),
    ):
        with pytest.raises(NotProved):
            look()
