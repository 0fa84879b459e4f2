from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.dkim import keys


def test_an_rsa_key_comes_back_from_both_forms(rsa_key: rsa.RSAPrivateKey) -> None:
    assert rsa_key.key_size == 2048
    assert rsa_key.public_key().public_numbers().e == 65537
    for stored in (keys.to_der(rsa_key), keys.to_pem(rsa_key)):
        back = keys.load(stored)
        assert isinstance(back, rsa.RSAPrivateKey)
        assert back.private_numbers() == rsa_key.private_numbers()


def test_a_new_rsa_key_is_of_the_size_that_receivers_want() -> None:
    assert keys.generate_rsa().key_size == keys.RSA_BITS == 2048


def test_an_ed25519_key_comes_back_from_both_forms(ed25519_key: Ed25519PrivateKey) -> None:
    for stored in (keys.to_der(ed25519_key), keys.to_pem(ed25519_key)):
        back = keys.load(stored)
        assert isinstance(back, Ed25519PrivateKey)
        assert back.private_bytes_raw() == ed25519_key.private_bytes_raw()


def test_keys_that_cannot_sign_are_refused() -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505  # that is the point
    with pytest.raises(keys.UnusableKeyError, match="1024 bits"):
        keys.load(keys.to_der(short))
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(keys.UnusableKeyError, match="neither"):
        keys.load(curve)


def test_a_key_under_a_passphrase_is_refused(ed25519_key: Ed25519PrivateKey) -> None:
    sealed = ed25519_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    with pytest.raises(keys.UnusableKeyError, match="unencrypted"):
        keys.load(sealed)


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"-----BEGIN PRIVATE KEY-----\n" + data))
def test_what_is_no_key_is_refused(data: bytes) -> None:
    with pytest.raises(keys.UnusableKeyError):
        keys.load(data)


def test_the_record_of_an_rsa_key_holds_its_subject_public_key_info(rsa_key: rsa.RSAPrivateKey) -> None:
    record = keys.txt_record(rsa_key)
    head, _, data = record.rpartition("p=")
    assert head == "v=DKIM1; k=rsa; "
    public = serialization.load_der_public_key(base64.b64decode(data, validate=True))
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.public_numbers() == rsa_key.public_key().public_numbers()
    assert keys.txt_record(rsa_key.public_key()) == record


def test_the_record_of_an_ed25519_key_is_the_published_one() -> None:
    # RFC 8463 appendix A.1 and A.2; the key is RFC 8032 §7.1, test 1.
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode("nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="))
    expected = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    assert keys.txt_record(key) == expected
    assert keys.txt_record(key.public_key()) == expected


_RSA = "v=DKIM1; k=rsa; p=MIIBIjANBg+/="
_ED25519 = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


@pytest.mark.parametrize(
    ("txt", "expected"),
    [
        (_RSA, _RSA),
        (_ED25519, _ED25519),
        ("v=DKIM1;k=rsa;p=MIIBIjANBg+/=", _RSA),
        ("v=DKIM1; k=rsa; p=MIIBIjANBg+/=;", _RSA),
        (" v = DKIM1 ;\tk = rsa ; p = MIIB IjAN\r\n Bg+/= ; ", _RSA),
        ("v=DKIM1; p=MIIBIjANBg+/=; k=rsa", _RSA),
        ("v=DKIM1; p=MIIBIjANBg+/=", _RSA),
        ("k=rsa; p=MIIBIjANBg+/=", _RSA),
        ("p=MIIBIjANBg+/=", _RSA),
        ("v=DKIM1; k=rsa; t=s; p=MIIBIjANBg+/=", _RSA),
        ("v=DKIM1; k=rsa; t=y:s; n=a note; p=MIIBIjANBg+/=", _RSA),
        ("v=DKIM1; k=rsa; s=email; h=sha1:sha256; p=MIIBIjANBg+/=", _RSA),
        ("v=DKIM1; k=rsa; s=*; x-new=1; p=MIIBIjANBg+/=", _RSA),
    ],
)
def test_records_that_verifiers_read_alike_match(txt: str, expected: str) -> None:
    assert keys.record_matches(txt, expected)


@pytest.mark.parametrize(
    "txt",
    [
        "",
        ";",
        "v=DKIM1",
        "v=DKIM1; k=rsa; p=",
        "v=DKIM1; k=rsa; p=MIIBIjANBg+/",
        "v=DKIM1; k=rsa; p=miibijanbg+/=",
        "v=DKIM1; k=ed25519; p=MIIBIjANBg+/=",
        "v=DKIM2; k=rsa; p=MIIBIjANBg+/=",
        "v=dkim1; k=rsa; p=MIIBIjANBg+/=",
        "k=rsa; v=DKIM1; p=MIIBIjANBg+/=",
        "v=DKIM1; k=rsa; h=sha1; p=MIIBIjANBg+/=",
        "v=DKIM1; k=rsa; s=other; p=MIIBIjANBg+/=",
        "v=DKIM1; k=rsa; p=MIIBIjANBg+/=; p=MIIBIjANBg+/=",
        "v=DKIM1; k=rsa; p=other; p=MIIBIjANBg+/=",
        "v=DKIM1; k=rsa; p=MIIBIjANBg+/=; nonsense",
        "v=DKIM1; k=rsa;; p=MIIBIjANBg+/=",
        "v=spf1 -all",
        "v=DKIM1; k=rsa; p=MIIBIjANBg+/=; n=" + "x" * keys.RECORD_LENGTH_MAX,
    ],
)
def test_records_that_do_not_publish_the_key(txt: str) -> None:
    assert not keys.record_matches(txt, _RSA)


def test_a_revoked_key_matches_nothing() -> None:
    assert not keys.record_matches("v=DKIM1; k=rsa; p=", "v=DKIM1; k=rsa; p=")


def test_every_record_of_ours_matches_itself_and_no_other(
    rsa_key: rsa.RSAPrivateKey, ed25519_key: Ed25519PrivateKey
) -> None:
    one, other = keys.txt_record(rsa_key), keys.txt_record(ed25519_key)
    assert keys.record_matches(one, one)
    assert keys.record_matches(other, other)
    assert not keys.record_matches(one, other)
    assert not keys.record_matches(other, one)


@given(st.text(max_size=60) | st.lists(st.sampled_from(["v=", "DKIM1", ";", "p=", "=", " ", "k"])).map("".join))
def test_no_record_breaks_the_comparison(txt: str) -> None:
    assert not keys.record_matches(txt, _RSA)
