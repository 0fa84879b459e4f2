"""An OpenID Provider that says whatever a test wants it to say, and signs it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Final

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from sekisho.oidc.model import Journey, Registration
from sekisho.oidc.provider import Provider, read_provider
from sekisho.ports.web import Answer
from sekisho.secret import Secret
from tests.fakes.web import FakeWeb

ISSUER: Final = "https://id.example.test/realm"
NOW_S: Final = 1_900_000_000
METADATA: Final[dict[str, Any]] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/auth?kind=1",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": "https://keys.example.test/jwks",
    "userinfo_endpoint": f"{ISSUER}/me",
    "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
}
REGISTRATION: Final = Registration(
    issuer=ISSUER,
    client_id="sekisho",
    client_secret=Secret("s3/cret"),
    redirect_uri="https://relay.test/login/oidc/callback",
    second_factors=frozenset({"mfa", "otp", "hwk"}),
    name="Example",
)
JOURNEY: Final = Journey.begin(bytes(range(96)), next_path="/keys", language="ja", now_ms=NOW_S * 1000)


def provider(**changes: Any) -> Provider:
    found = read_provider(json.dumps(METADATA | changes).encode(), ISSUER)
    assert isinstance(found, Provider)
    return found


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token says; None leaves a claim out."""
    good = {
        "iss": ISSUER, "sub": "ann-1", "aud": "sekisho", "nonce": JOURNEY.nonce, "iat": NOW_S, "exp": NOW_S + 300,
        "amr": ["pwd"], "email": "ann@example.test", "email_verified": True,
    }  # fmt: skip
    return {name: value for name, value in (good | changes).items() if value is not None}


@dataclass
class FakeProvider:
    """``web`` has its pages."""

    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "one"}))
    web: FakeWeb = field(default_factory=FakeWeb)

    def __post_init__(self) -> None:
        self.describe()
        self.publish(self.key)
        self.grant(self.token())

    def describe(self, **changes: Any) -> None:
        self.put(f"{ISSUER}/.well-known/openid-configuration", METADATA | changes)

    def publish(self, *keys: ECKey) -> None:
        self.put(METADATA["jwks_uri"], {"keys": [key.as_dict(private=False) for key in keys]})

    def token(self, key: ECKey | RSAKey | None = None, alg: str = "ES256", **changes: Any) -> str:
        signing = key or self.key
        header = {"alg": alg, "kid": signing.kid}
        return jws.serialize_compact(header, json.dumps(claims(**changes)), signing, algorithms=[alg])

    def grant(self, token: str, **more: Any) -> None:
        self.put(METADATA["token_endpoint"], {"id_token": token, "token_type": "Bearer", **more})

    def put(self, url: str, document: Any) -> None:
        self.web.pages[url] = Answer(200, json.dumps(document).encode())
