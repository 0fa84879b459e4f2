"""What the handlers of pages are given, and the request as they see it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from sekisho.accounts import Account
from sekisho.domains import Relay
from sekisho.doors.http.ratelimit import Paces
from sekisho.doors.http.store import Store
from sekisho.identity import IPAddress, IPNetwork
from sekisho.ids import AccountId, UserId
from sekisho.oidc import Client
from sekisho.ports.clock import Clock
from sekisho.queue.bykey import Purge
from sekisho.sealing import Sealer
from sekisho.signup import Terms
from sekisho.users import Hasher, Pace
from sekisho.users.login import Login

FIRST_TERMS: Final = Terms(daily_credits=200, lift_after_ms=604_800_000, lift_delivered=500, lift_bounces_percent=5.0)
"""What is configured where nothing is."""

WebRequest = Request[Any, Any, State]


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that pages use."""

    store: Store
    """Control data."""
    event_store: Store
    clock: Clock
    relay: Relay
    sealer: Sealer
    spool: Path
    """The spool's directory."""
    purging: Purge
    hasher: Hasher
    login: Login
    pace: Pace
    audit_heads: Path
    """The file of signed heads of the audit log."""
    public_url: str
    """Where people reach this server: ``https://relay.example.net``, without a slash behind."""
    trusted_proxies: Callable[[], Sequence[IPNetwork]]
    on_attempt: Callable[[Account, IPAddress, bool], None] = lambda *_: None
    """Hears of each request that comes with a log-in: whose, from where, and whether the address was let in."""
    on_failed: Callable[[IPAddress, AccountId | None, UserId | None], None] = lambda *_: None
    """Hears of each second factor that was wrong."""
    form_targets: tuple[str, ...] = ()
    """Origins that forms may lead to, beside our own: the OpenID Provider's."""
    oidc: Client | None = None
    """The OpenID Provider that people can log in through; None: none."""
    signup_mode: str = "closed"
    """Who may open an account: ``closed``, ``invitation`` or ``open``."""
    terms: Terms = FIRST_TERMS
    """What new accounts may send at first."""
    paces: Paces = field(default_factory=Paces)
    """How often strangers may ask for letters, by address."""
    smtp_port: int = 587
    """Where programs hand in mail with STARTTLS, for lines to try."""
    verifying: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    """One audit log is verified at a time: that may keep a thread, which others wait for, for seconds."""

    @property
    def is_secure(self) -> bool:
        """Whether people come by https; then cookies go no other way."""
        return urlsplit(self.public_url).scheme == "https"


TheParts = NamedDependency[SkipValidation[Parts]]
"""A handler's parameter ``parts``."""


def parts_of(request: WebRequest) -> Parts:
    """Give the parts where no parameter can bring them."""
    found: Parts = request.scope["state"]["parts"]
    return found
