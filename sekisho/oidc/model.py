"""How this server is known at the provider, and what is remembered while somebody is there."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlencode, urlsplit, urlunsplit

import msgspec

from sekisho.oidc.provider import Provider, Trouble
from sekisho.sealing import SealBroken, Sealer
from sekisho.secret import Secret

JOURNEY_MS: Final = 10 * 60_000
"""How long somebody may take at the provider."""

CODE_MAX: Final = 4096
_PURPOSE: Final = "oidc journey"


@dataclass(frozen=True, slots=True)
class Registration:
    """What the operator has agreed with the provider."""

    issuer: str
    client_id: str
    client_secret: Secret[str] | None
    """None: a public client, which PKCE alone protects."""
    redirect_uri: str
    second_factors: frozenset[str]
    """Values of ``amr`` that count as a second factor."""
    name: str
    """What people call the provider."""


class Journey(msgspec.Struct, frozen=True):
    """One person's way to the provider and back; kept sealed in his own browser, so that nothing is stored for it."""

    state: str
    nonce: str
    verifier: str
    """RFC 7636: shows that whoever brings the code is who went to fetch it."""
    next: str
    """Where in the dashboard he wanted to go."""
    language: str
    until_ms: int

    @classmethod
    def begin(cls, chance: bytes, *, next_path: str, language: str, now_ms: int) -> Self:
        """``chance`` is 96 random octets."""
        state, nonce, verifier = (_text(chance[at : at + 32]) for at in (0, 32, 64))
        return cls(state, nonce, verifier, next_path, language, now_ms + JOURNEY_MS)

    def sealed(self, sealer: Sealer) -> str:
        """Write it for the cookie."""
        return _text(sealer.seal(Secret(msgspec.json.encode(self)), purpose=_PURPOSE, row=""))

    def address(self, provider: Provider, registration: Registration) -> str:
        """Where to send him (Core §3.1.2.1)."""
        query = {
            "response_type": "code",
            "client_id": registration.client_id,
            "redirect_uri": registration.redirect_uri,
            "scope": "openid email",
            "state": self.state,
            "nonce": self.nonce,
            "code_challenge": _text(hashlib.sha256(self.verifier.encode()).digest()),
            "code_challenge_method": "S256",
            "ui_locales": self.language,
        }
        parts = urlsplit(provider.authorization_endpoint)
        joined = "&".join(part for part in (parts.query, urlencode(query)) if part)
        return urlunsplit(parts._replace(query=joined))


def unseal(cookie: str, sealer: Sealer, *, now_ms: int) -> Journey | None:
    """Read the cookie again; None when it is not ours, or he took too long."""
    try:
        sealed = base64.urlsafe_b64decode(cookie + "=" * (-len(cookie) % 4))
        found = msgspec.json.decode(sealer.open(sealed, purpose=_PURPOSE, row="").reveal(), type=Journey)
    except (binascii.Error, ValueError, SealBroken, msgspec.DecodeError):
        return None
    return found if now_ms < found.until_ms else None


def code_in(query: Mapping[str, str], journey: Journey, provider: Provider) -> str | Trouble:
    """Read the provider's response out of the address it sent him back to (RFC 6749 §4.1.2, RFC 9207)."""
    if not hmac.compare_digest(query.get("state", "").encode(), journey.state.encode()):
        return Trouble("the response answers another request")
    # Before anything else is believed: another provider's response must not be taken for this one's.
    issuer = query.get("iss")
    if issuer != provider.issuer and (issuer is not None or provider.names_itself):
        return Trouble("the response is of another issuer")
    if (error := query.get("error")) is not None:
        shown = "".join(letter for letter in error[:60] if letter.isascii() and letter.isprintable())
        return Trouble(f"it refused: {shown}")
    code = query.get("code", "")
    return code if 0 < len(code) <= CODE_MAX else Trouble("the response has no code")


def _text(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode("ascii")
