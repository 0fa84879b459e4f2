"""ID tokens: what a provider says of somebody, believed only when everything about it is right (Core §3.1.3.7)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from sekisho.oidc.provider import Provider, Trouble

LEEWAY_S: Final = 120
"""How far the provider's clock and ours may differ."""

AGE_MAX_S: Final = 600
"""Of a token, when it is handed to us; it was made for the code that we have just given."""

TOKEN_MAX_BYTES: Final = 64 * 1024

SUBJECT_MAX: Final = 255
"""Core §2."""

_METHODS_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class Outsider:
    """Somebody whom the provider has let in, and what it says of him."""

    issuer: str
    subject: str
    email: str | None
    """Only when the provider has verified it."""
    methods: frozenset[str]
    """RFC 8176: by what he showed who he is."""


class _Claims(msgspec.Struct):
    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    iat: float
    nonce: str
    nbf: float = 0
    azp: str | None = None
    amr: tuple[str, ...] = ()
    email: str | None = None
    # Some say "true": a text is nobody's promise.
    email_verified: object = False


class _UserInfo(msgspec.Struct):
    sub: str
    email: str | None = None
    email_verified: object = False


def read_keys(document: bytes) -> KeySet | Trouble:
    """Read the provider's keys (RFC 7517)."""
    try:
        return KeySet.import_key_set(msgspec.json.decode(document))
    except (msgspec.DecodeError, JoseError, ValueError, TypeError, KeyError) as error:
        return Trouble(f"its keys cannot be read: {type(error).__name__}")


def key_id(token: str) -> str | None:
    """By which of its keys the provider says that it signed; nothing is believed yet."""
    try:
        named = jws.extract_compact(token.encode()).headers().get("kid")
    except (JoseError, ValueError):
        return None
    return named if isinstance(named, str) else None


def read_token(
    token: str, keys: KeySet, provider: Provider, *, client_id: str, nonce: str, now_ms: int
) -> Outsider | Trouble:
    """Verify an ID token that answers our own request with ``nonce``."""
    if len(token) > TOKEN_MAX_BYTES:
        return Trouble("its ID token is too large")
    try:
        signed = jws.deserialize_compact(token, keys, algorithms=sorted(provider.algorithms))
        claims = msgspec.json.decode(signed.payload, type=_Claims)
    except JoseError as error:
        return Trouble(f"its ID token is not good: {error.error}")
    except (msgspec.DecodeError, msgspec.ValidationError, ValueError) as error:
        return Trouble(f"its ID token cannot be read: {error}")
    if (wrong := _fault(claims, provider.issuer, client_id, nonce, now_ms / 1000)) is not None:
        return Trouble(f"its ID token {wrong}")
    return Outsider(
        issuer=provider.issuer,
        subject=claims.sub,
        email=_verified(claims.email, claims.email_verified),
        methods=frozenset(claims.amr[:_METHODS_MAX]),
    )


def _fault(claims: _Claims, issuer: str, client_id: str, nonce: str, now_s: float) -> str | None:
    audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if claims.iss != issuer:
        return "is of another issuer"
    if client_id not in audience:
        return "is for somebody else"
    # For several, only when it says that it was made for us.
    if claims.azp != client_id and (claims.azp is not None or len(audience) > 1):
        return "was made for somebody else"
    if not claims.exp > now_s - LEEWAY_S:
        return "has expired"
    if not now_s - AGE_MAX_S <= claims.iat <= now_s + LEEWAY_S:
        return "was not made just now"
    if not claims.nbf <= now_s + LEEWAY_S:
        return "is not good yet"
    if not hmac.compare_digest(claims.nonce.encode(), nonce.encode()):
        return "answers another request"
    if not (claims.sub and len(claims.sub) <= SUBJECT_MAX and claims.sub.isascii() and claims.sub.isprintable()):
        return "names nobody"
    return None


def read_userinfo(document: bytes, subject: str) -> str | Trouble | None:
    """Read the verified address from an answer about ``subject`` (Core §5.3); None when there is none."""
    try:
        found = msgspec.json.decode(document, type=_UserInfo)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return Trouble("its answer about the user cannot be read")
    if found.sub != subject:
        return Trouble("its answer is about another user")
    return _verified(found.email, found.email_verified)


def _verified(email: str | None, verified: object) -> str | None:
    return email if verified is True and email and len(email) <= 254 else None


def has_second_factor(methods: frozenset[str], counted: frozenset[str]) -> bool:
    """Whether a provider says that two factors were shown: ``mfa``, or one that counts beside another.

    A one-time code alone is one factor, whoever asks for it.
    """
    return bool(methods & counted) and ("mfa" in methods & counted or len(methods) > 1)
