"""The dashboard as people with browsers see it, without sockets: the real application on a real control database."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httpx
import pyotp

from sekisho import factors, sessions, users
from sekisho.accounts import Account
from sekisho.db import Database
from sekisho.doors.dashboard import cookies
from sekisho.doors.dashboard.app import build
from sekisho.doors.dashboard.deps import Parts
from sekisho.doors.http.store import Store
from sekisho.factors import pending_totp
from sekisho.identity import IPAddress, IPNetwork
from sekisho.ids import AccountId, UserId
from sekisho.secret import Secret
from sekisho.sessions import Method, Stage
from sekisho.users import Hasher, Pace, Role, User, hash_password, user_by_id
from sekisho.users.login import Login
from tests.fakes.clock import FakeClock
from tests.fakes.control import BY, RELAY, SEALER

CLIENT: Final = "192.0.2.7"
HOME: Final = "https://relay.example.net"
PASSWORD: Final = "correct horse battery staple"
STEP_MS: Final = 30_000

_hashes: dict[str, str] = {}


class Dashboard:
    """The application, and what tests put into its databases."""

    def __init__(
        self,
        control: Database,
        events: Database,
        *,
        spool: Path,
        clock: FakeClock,
        threads: ThreadPoolExecutor,
        hasher: Hasher,
        public_url: str = HOME,
    ) -> None:
        self.control = control
        self.events = events
        self.spool = spool
        self.clock = clock
        self.public_url = public_url
        self.trusted_proxies: tuple[IPNetwork, ...] = ()
        self.attempts: list[tuple[AccountId, IPAddress, bool]] = []
        self.failed: list[tuple[IPAddress, AccountId | None, UserId | None]] = []
        self.purged: list[tuple[str, int]] = []
        self.secrets: dict[int, str] = {}
        store = Store(control, threads)
        pace = Pace(SEALER.derive("login pace"))
        self.parts = Parts(
            store=store,
            event_store=Store(events, threads),
            clock=clock,
            relay=RELAY,
            sealer=SEALER,
            spool=spool,
            purging=self._purge,
            hasher=hasher,
            login=Login(store, hasher, pace, self._failed),
            pace=pace,
            audit_heads=spool.with_name("audit-heads.jsonl"),
            public_url=public_url,
            trusted_proxies=lambda: self.trusted_proxies,
            on_attempt=lambda home, address, allowed: self.attempts.append((home.id, address, allowed)),
            on_failed=self._failed,
        )
        self.app = build(self.parts)

    def _failed(self, address: IPAddress, tenant_id: AccountId | None, user_id: UserId | None) -> None:
        self.failed.append((address, tenant_id, user_id))

    def _purge(self, key_id: str, most: int) -> int:
        self.purged.append((key_id, most))
        return 7

    # People.

    def a_person(
        self,
        tenant: Account,
        name: str = "ann@example.com",
        *,
        role: Role = Role.OWNER,
        scopes: frozenset[str] | None = None,
        restricted: bool = False,
        totp: bool = True,
        language: str | None = None,
    ) -> User:
        """Let somebody log in, by PASSWORD; with an authenticator app unless ``totp`` is False."""
        if PASSWORD not in _hashes:
            _hashes[PASSWORD] = hash_password(Secret(PASSWORD))
        with self.control.begin() as tx:
            made = users.add(
                tx,
                tenant,
                email=name if "@" in name else f"{name}@example.com",
                username=name,
                password=_hashes[PASSWORD],
                role=role,
                scopes=scopes,
                restricted=restricted,
                language=language,
                proved="@" in name,
                by=BY,
            )
            assert isinstance(made, User), made
            if totp:
                self._enrol(tx, made)
            person = user_by_id(tx, made.id)
            assert person is not None
            return person

    def _enrol(self, tx: Any, person: User) -> None:
        now_ms = self.clock.now_ms()
        factors.begin_totp(tx, person.id, sealer=SEALER, at_ms=now_ms)
        secret = pending_totp(tx, person.id, sealer=SEALER, now_ms=now_ms)
        assert secret is not None
        self.secrets[person.id] = secret.reveal()
        # By the code of a step ago, so that the one of now is still good.
        code = pyotp.TOTP(secret.reveal()).at(now_ms // 1000 - 30)
        by = replace(BY, at_ms=now_ms)
        declined = factors.confirm_totp(tx, person, code, sealer=SEALER, by=by)
        assert declined is None, declined

    def code(self, person: User) -> str:
        """What the person's app shows next: the clock goes on to a code that was never used."""
        self.clock.go(STEP_MS / 1000)
        return pyotp.TOTP(self.secrets[person.id]).at(self.clock.now_ms() // 1000)


class Browser:
    """One browser: keeps cookies, follows 303, sends forms as they stand on the page."""

    def __init__(self, dashboard: Dashboard, *, address: str = CLIENT, language: str = "en") -> None:
        self.dashboard = dashboard
        self.address = ip_address(address)
        transport = httpx.ASGITransport(app=cast("Any", dashboard.app), client=(address, 50_000))
        self.client = httpx.AsyncClient(
            transport=transport,
            base_url=dashboard.public_url,
            headers={"accept-language": language, "user-agent": "Test/1.0"},
        )
        self.page = httpx.Response(200, text="")
        """What is shown now."""

    @property
    def text(self) -> str:
        """The page as HTML."""
        return self.page.text

    @property
    def path(self) -> str:
        return self.page.request.url.raw_path.decode()

    @property
    def csrf(self) -> str:
        return self.hidden("csrf")

    def hidden(self, name: str) -> str:
        """The value of a hidden field of the page."""
        found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', self.text)
        assert found, f"no hidden {name} in {self.page.request.url}: {self.text[:2000]}"
        return html.unescape(found[1])

    def heading(self) -> str:
        found = re.search(r"<h1>(.*?)</h1>", self.text, re.DOTALL)
        assert found, self.text
        return html.unescape(found[1]).strip()

    async def get(self, path: str, **more: Any) -> httpx.Response:
        """Open a page, and what it leads to."""
        return await self._follow(await self.client.get(path, **more))

    async def post(
        self, path: str, fields: Mapping[str, Any] | None = None, *, follow: bool = True, **more: Any
    ) -> httpx.Response:
        """Send a form, with the token that the page shown now has, unless ``fields`` has another."""
        given = dict(fields or {})
        if "csrf" not in given:
            given = {"csrf": self.csrf, **given}
        answer = await self.client.post(path, data=given, **more)
        if not follow:
            return answer
        return await self._follow(answer)

    async def _follow(self, answer: httpx.Response) -> httpx.Response:
        for _ in range(5):
            if answer.status_code not in {303, 307}:
                break
            target = answer.headers["location"]
            assert target.startswith("/"), target
            if answer.status_code == 307:
                sent = answer.request
                answer = await self.client.request(
                    sent.method, target, content=sent.content, headers={"content-type": sent.headers["content-type"]}
                )
            else:
                answer = await self.client.get(target)
        self.page = answer
        return answer

    async def enter(self, person: User) -> httpx.Response:
        """Be logged in, with both factors shown just now, without going through the pages that ask for them."""
        with self.dashboard.control.begin() as tx:
            begun = sessions.begin(
                tx,
                user_id=person.id,
                stage=Stage.FULL,
                address=str(self.address),
                user_agent="Test/1.0",
                at_ms=self.dashboard.clock.now_ms(),
                method=Method.TOTP,
            )
        self.give(begun.token.reveal())
        return await self.get("/")

    def give(self, token: str) -> None:
        """Have the browser hold a session's token."""
        secure = self.dashboard.parts.is_secure
        name = f"__Host-{cookies.SESSION}" if secure else cookies.SESSION
        self.client.cookies.set(name, token, domain=urlsplit(self.dashboard.public_url).hostname or "", path="/")

    async def log_in(self, person: User, password: str = PASSWORD) -> httpx.Response:
        """Log in with both factors."""
        await self.get("/login")
        await self.post("/login", {"name": person.username, "password": password})
        assert self.path.startswith("/login/second"), (self.path, self.heading())
        return await self.post(self.path, {"code": self.dashboard.code(person)})

    async def step_up(self, person: User) -> httpx.Response:
        """Show the second factor again, on the page that asks for it."""
        fields: dict[str, str] = {"next": self.hidden("next"), "code": self.dashboard.code(person)}
        if 'name="kept"' in self.text:
            fields["kept"] = self.hidden("kept")
        return await self.post("/step-up", fields)

    def cookie_names(self) -> Sequence[str]:
        return sorted(cookie.name for cookie in self.client.cookies.jar)


@asynccontextmanager
async def dashboard_on(
    control: Database, events: Database, spool: Path, clock: FakeClock | None = None, public_url: str = HOME
) -> AsyncIterator[Dashboard]:
    """Open the dashboard on databases that have their tables."""
    hasher = Hasher()
    try:
        with ThreadPoolExecutor(4) as threads:
            yield Dashboard(
                control,
                events,
                spool=spool,
                clock=clock or FakeClock(),
                threads=threads,
                hasher=hasher,
                public_url=public_url,
            )
    finally:
        hasher.close()
