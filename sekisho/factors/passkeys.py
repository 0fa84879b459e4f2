"""Passkeys (WebAuthn Level 3): what a browser is asked to do, and what its answer proves. Pure.

No attestation is asked for: whose device it is matters to us, which make it is does not. Who asks keeps the challenge,
and uses it up with the first answer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import webauthn
from webauthn.helpers import (
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    RegistrationCredential,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from sekisho.ids import UserId

ANSWER_MAX: Final = 16_384
"""Characters of a browser's answer. An RSA key and its credential id come to 3,000."""
CREDENTIAL_ID_MAX: Final = 1023
"""Bytes (WebAuthn §4, Credential ID)."""
PUBLIC_KEY_MAX: Final = 2048
"""Bytes: an RSA key of 8,192 bits has 1,040."""

_TIMEOUT_MS: Final = 300_000
"""A hint to the browser: what WebAuthn §15.1 recommends, so that nobody is hurried."""

_HANDLE_BYTES: Final = 8
_MESSAGE_MAX: Final = 200
_FAULTS: Final = (
    WebAuthnException,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Whom passkeys are made for: this server, as browsers know it."""

    id: str
    """The host name; a passkey made for one name is good for no other."""
    origin: str


def relying_party(public_url: str) -> RelyingParty | None:
    """Tell as what browsers know a server of this URL; None where they make no passkeys at all.

    They do over https for a name, and over http for localhost alone; never for an address.
    """
    url = urlsplit(public_url)
    host = url.hostname or ""
    local = host == "localhost" or host.endswith(".localhost")
    if not host or _is_address(host) or (url.scheme != "https" and not local):
        return None
    default = 443 if url.scheme == "https" else 80
    port = "" if url.port in {None, default} else f":{url.port}"
    return RelyingParty(host, f"{url.scheme}://{host}{port}")


@dataclass(frozen=True, slots=True)
class Known:
    """A passkey as browsers are reminded of it."""

    credential_id: bytes
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What to hand to the browser, and what its answer must carry."""

    options: str
    """JSON for ``parseCreationOptionsFromJSON`` or ``parseRequestOptionsFromJSON``; no secret."""
    challenge: bytes


@dataclass(frozen=True, slots=True)
class Made:
    """A passkey that a browser proved to have made just now."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    backed_up: bool
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What an answer claims before anything of it is proved: which passkey, and whose."""

    credential_id: bytes
    user_id: UserId | None
    """None: the authenticator does not tell, as one that is not asked to find its key by itself may."""


@dataclass(frozen=True, slots=True)
class Proved:
    """A passkey's answer is right."""

    sign_count: int
    backed_up: bool


class NotProved(Exception):
    """The browser's answer proves nothing; the message is for an operator's log, and may quote some of the answer."""


def ask_to_make(rp: RelyingParty, user_id: UserId, *, user_name: str, rp_name: str, known: Sequence[Known]) -> Asked:
    """Ask a browser for a new passkey, of an authenticator that has none of ``known``.

    One that the authenticator finds by itself and that verifies its owner is wanted, since it can be used alone; a
    security key that can do neither still is a second factor.
    """
    options = webauthn.generate_registration_options(
        rp_id=rp.id,
        rp_name=rp_name,
        user_id=_handle(user_id),
        user_name=user_name,
        timeout=_TIMEOUT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED,
            user_verification=UserVerificationRequirement.PREFERRED,
        ),
        exclude_credentials=_descriptors(known),
    )
    return Asked(webauthn.options_to_json(options), options.challenge)


def ask_to_show(rp: RelyingParty, *, known: Sequence[Known], alone: bool) -> Asked:
    """Ask for an answer of one of ``known``, or of whichever the browser's owner chooses when that is empty.

    ``alone``: nothing else is asked of this person, so the authenticator must have verified him.
    """
    options = webauthn.generate_authentication_options(
        rp_id=rp.id,
        timeout=_TIMEOUT_MS,
        allow_credentials=_descriptors(known),
        user_verification=UserVerificationRequirement.REQUIRED if alone else UserVerificationRequirement.PREFERRED,
    )
    return Asked(webauthn.options_to_json(options), options.challenge)


def check_made(answer: str, *, rp: RelyingParty, challenge: bytes) -> Made:
    """Verify what a browser says it has made (WebAuthn §7.1). Raises NotProved."""
    with _proving():
        credential = parse_registration_credential_json(_bounded(answer))
        _same_place(credential)
        verified = webauthn.verify_registration_response(
            credential=credential, expected_challenge=challenge, expected_rp_id=rp.id, expected_origin=rp.origin
        )
        if len(verified.credential_id) > CREDENTIAL_ID_MAX or len(verified.credential_public_key) > PUBLIC_KEY_MAX:
            message = "the credential is too large"
            raise NotProved(message)
        return Made(
            verified.credential_id,
            verified.credential_public_key,
            verified.sign_count,
            verified.credential_backed_up,
            tuple(sorted({transport.value for transport in credential.response.transports or ()})),
        )


def shown(answer: str) -> Shown:
    """Read which passkey answers, to find its key. Raises NotProved."""
    with _proving():
        credential = parse_authentication_credential_json(_bounded(answer))
        handle = credential.response.user_handle
        if handle and len(handle) != _HANDLE_BYTES:
            message = "the user handle is none of ours"
            raise NotProved(message)
        return Shown(credential.raw_id, UserId(int.from_bytes(handle, "big")) if handle else None)


def check_shown(answer: str, *, rp: RelyingParty, challenge: bytes, public_key: bytes, alone: bool) -> Proved:
    """Verify an answer by the key of the passkey that ``shown`` named (WebAuthn §7.2). Raises NotProved.

    The count is the caller's to compare: what an answer with a right signature counts is worth knowing even when wrong.
    """
    with _proving():
        credential = parse_authentication_credential_json(_bounded(answer))
        _same_place(credential)
        verified = webauthn.verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp.id,
            expected_origin=rp.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=alone,
        )
        return Proved(verified.new_sign_count, verified.credential_backed_up)


@contextlib.contextmanager
def _proving() -> Iterator[None]:
    """Turn whatever is wrong with an answer into NotProved: the library raises what its parsers raise.

    An answer is hostile input; what it does to a parser is its own fault, never ours.
    """
    try:
        yield
    except _FAULTS as error:
        message = f"{type(error).__name__}: {error}"[:_MESSAGE_MAX]
        raise NotProved(message) from error


def _bounded(answer: str) -> str:
    if len(answer) > ANSWER_MAX:
        message = "the answer is too long"
        raise NotProved(message)
    return answer


def _same_place(credential: AuthenticationCredential | RegistrationCredential) -> None:
    # WebAuthn §7.1 step 10, §7.2 step 13: our pages are in nobody's frame, so nobody may ask for us from one.
    if parse_client_data_json(credential.response.client_data_json).cross_origin:
        message = "the answer was given inside another site's page"
        raise NotProved(message)


def _descriptors(known: Sequence[Known]) -> list[PublicKeyCredentialDescriptor]:
    return [
        PublicKeyCredentialDescriptor(
            id=one.credential_id, transports=[AuthenticatorTransport(name) for name in one.transports] or None
        )
        for one in known
    ]


def _handle(user_id: UserId) -> bytes:
    """Name a person to authenticators (WebAuthn §14.6.1: by nothing that tells who it is)."""
    return user_id.to_bytes(_HANDLE_BYTES, "big")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
