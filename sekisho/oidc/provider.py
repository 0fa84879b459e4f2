"""An OpenID Provider as it describes itself (OpenID Connect Discovery), and what we believe of that."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import msgspec

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"

ALGORITHMS: Final = frozenset({
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
})  # fmt: skip
"""Signatures that only the provider can make: neither ``none`` nor a secret that we share with it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A log-in cannot go on, and not because of who it is: for an operator's eyes, with nothing secret in it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Provider:
    """Where to go for what; every address is as safe as the issuer's own."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None
    algorithms: frozenset[str]
    """That it signs ID tokens with, and that we take."""
    takes_basic: bool
    """Whether a client shows its secret by RFC 7617; otherwise in the form."""
    names_itself: bool
    """RFC 9207: every authorization response says whose it is."""


class _Metadata(msgspec.Struct):
    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    id_token_signing_alg_values_supported: tuple[str, ...] = ("RS256",)
    # Discovery §3: left out, it means this.
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


def read_provider(document: bytes, issuer: str) -> Provider | Trouble:
    """Read a discovery document that was fetched from ``issuer``."""
    try:
        found = msgspec.json.decode(document, type=_Metadata)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        return Trouble(f"its discovery document cannot be read: {error}")
    # Discovery §4.3: exactly the same, or somebody else speaks for it.
    if found.issuer != issuer:
        return Trouble(f"its discovery document is of another issuer: {found.issuer[:100]}")
    endpoints = {
        "authorization_endpoint": found.authorization_endpoint,
        "token_endpoint": found.token_endpoint,
        "jwks_uri": found.jwks_uri,
        "userinfo_endpoint": found.userinfo_endpoint,
    }
    for name, url in endpoints.items():
        if url is not None and (wrong := address_fault(url, may_be_clear=is_loopback(issuer))) is not None:
            return Trouble(f"its {name} {wrong}")
    algorithms = ALGORITHMS & set(found.id_token_signing_alg_values_supported)
    if not algorithms:
        return Trouble("it signs with nothing that is taken here")
    return Provider(
        issuer=issuer,
        authorization_endpoint=found.authorization_endpoint,
        token_endpoint=found.token_endpoint,
        jwks_uri=found.jwks_uri,
        userinfo_endpoint=found.userinfo_endpoint,
        algorithms=algorithms,
        takes_basic="client_secret_basic" in found.token_endpoint_auth_methods_supported,
        names_itself=found.authorization_response_iss_parameter_supported,
    )


def address_fault(url: str, *, may_be_clear: bool) -> str | None:
    """What is wrong with an endpoint's or an issuer's address; None when nothing is."""
    try:
        parts = urlsplit(url)
        is_whole = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_whole = False
    if not is_whole or not url.isascii() or not url.isprintable() or " " in url:
        return "is not an address"
    if parts.scheme != "https" and not (may_be_clear and parts.scheme == "http" and is_loopback(url)):
        return "must begin with https://"
    if parts.username is not None or parts.fragment:
        return "must have no user name and no fragment"
    return None


def is_loopback(url: str) -> bool:
    """Whether an address is this machine's own, by name or number."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
