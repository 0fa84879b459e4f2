"""Speaking with the provider: its description and keys, remembered for a while; a code turned into a person."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import quote_plus, urlsplit

import msgspec
from joserfc.jwk import KeySet

from sekisho.oidc.idtoken import Outsider, key_id, read_keys, read_token, read_userinfo
from sekisho.oidc.model import Journey, Registration, code_in
from sekisho.oidc.provider import DISCOVERY_PATH, Provider, Trouble, read_provider
from sekisho.ports.clock import Clock
from sekisho.ports.web import Answer, NoAnswer, Question, Web
from sekisho.secret import Secret

T = TypeVar("T")

REMEMBERED_S: Final = 3600.0
"""How long a description and keys are believed without looking again."""

KEYS_PAUSE_S: Final = 60.0
"""A key that is not known makes us look again, but not more often than this: tokens name keys as they like."""


class _Tokens(msgspec.Struct):
    id_token: str
    access_token: str = ""


class Client:
    """One provider's client; on one loop."""

    def __init__(self, registration: Registration, web: Web, clock: Clock) -> None:
        self.registration: Final = registration
        self._web: Final = web
        self._clock: Final = clock
        self._host: Final = urlsplit(registration.issuer).hostname
        self._provider: tuple[Provider, float] | None = None
        self._keys: tuple[KeySet, float] | None = None

    async def address(self, journey: Journey) -> str | Trouble:
        """Where to send somebody who begins."""
        provider = await self._described()
        return provider if isinstance(provider, Trouble) else journey.address(provider, self.registration)

    async def finish(self, journey: Journey, query: Mapping[str, str]) -> Outsider | Trouble:
        """Turn what he came back with into who he is."""
        provider = await self._described()
        if isinstance(provider, Trouble):
            return provider
        code = code_in(query, journey, provider)
        if isinstance(code, Trouble):
            return code
        tokens = await self._redeem(provider, code, journey.verifier)
        if isinstance(tokens, Trouble):
            return tokens
        keys = await self._keys_for(provider, key_id(tokens.id_token))
        if isinstance(keys, Trouble):
            return keys
        outsider = read_token(
            tokens.id_token,
            keys,
            provider,
            client_id=self.registration.client_id,
            nonce=journey.nonce,
            now_ms=self._clock.now_ms(),
        )
        if isinstance(outsider, Trouble) or outsider.email is not None:
            return outsider
        return await self._with_email(provider, outsider, tokens.access_token)

    async def _described(self) -> Provider | Trouble:
        if self._provider is not None and self._clock.monotonic() < self._provider[1] + REMEMBERED_S:
            return self._provider[0]
        # Discovery §4.1: behind the issuer's own path, without its final slash.
        issuer = self.registration.issuer
        answer = await self._ask(Question(issuer.removesuffix("/") + DISCOVERY_PATH))
        if isinstance(answer, Trouble):
            return answer
        provider = read_provider(answer.body, issuer)
        if isinstance(provider, Provider):
            self._provider = provider, self._clock.monotonic()
        return provider

    async def _redeem(self, provider: Provider, code: str, verifier: str) -> _Tokens | Trouble:
        ours = self.registration
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": ours.redirect_uri,
            "code_verifier": verifier,
        }
        basic = None
        if ours.client_secret is None:
            form["client_id"] = ours.client_id
        elif provider.takes_basic:
            # RFC 6749 §2.3.1: both as in a form, before RFC 7617 is applied.
            basic = quote_plus(ours.client_id), Secret(quote_plus(ours.client_secret.reveal()))
        else:
            form |= {"client_id": ours.client_id, "client_secret": ours.client_secret.reveal()}
        answer = await self._ask(Question(provider.token_endpoint, form=form, basic=basic))
        return answer if isinstance(answer, Trouble) else _decoded(answer, _Tokens)

    async def _keys_for(self, provider: Provider, wanted: str | None) -> KeySet | Trouble:
        """Give the keys, read again when they are old or the one that is wanted is not among them."""
        now_s = self._clock.monotonic()
        if self._keys is not None:
            keys, since_s = self._keys
            is_known = wanted is None or any(key.kid == wanted for key in keys.keys)
            if now_s < since_s + (REMEMBERED_S if is_known else KEYS_PAUSE_S):
                return keys
        answer = await self._ask(Question(provider.jwks_uri))
        if isinstance(answer, Trouble):
            return answer
        found = read_keys(answer.body)
        if isinstance(found, KeySet):
            self._keys = found, now_s
        return found

    async def _with_email(self, provider: Provider, outsider: Outsider, access_token: str) -> Outsider | Trouble:
        """Ask for the address where the token does not say it (Core §5.4 leaves that to providers)."""
        if provider.userinfo_endpoint is None or not access_token:
            return outsider
        answer = await self._ask(Question(provider.userinfo_endpoint, bearer=Secret(access_token)))
        if isinstance(answer, Trouble):
            return answer
        email = read_userinfo(answer.body, outsider.subject)
        if isinstance(email, Trouble):
            return email
        return Outsider(outsider.issuer, outsider.subject, email, outsider.methods)

    async def _ask(self, question: Question) -> Answer | Trouble:
        # Its own host is the operator's choice, wherever it is; what it says of others must not lead us inside.
        is_its_own = urlsplit(question.url).hostname == self._host
        answer = await self._web.ask(dataclasses.replace(question, may_be_private=is_its_own))
        if isinstance(answer, NoAnswer):
            return Trouble(f"{question.url.partition('?')[0]}: {answer.reason}")
        if answer.status != 200:
            return Trouble(f"{question.url.partition('?')[0]} answered with status {answer.status}")
        return answer


def _decoded(answer: Answer, kind: type[T]) -> T | Trouble:
    try:
        return msgspec.json.decode(answer.body, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError):
        return Trouble("its token response cannot be read")
