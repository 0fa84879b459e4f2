"""The Web API as a client sees it, without sockets: the real application on a real control database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, cast

import httpx

from sekisho.apikeys.actions import Issued
from sekisho.apikeys.verifier import Verifier
from sekisho.changes import read
from sekisho.db import Database
from sekisho.domains import SenderDomains
from sekisho.doors.api.admission import Admission
from sekisho.doors.api.app import Parts, build
from sekisho.doors.api.v3.mail_body import BodyMemory
from sekisho.doors.api.v3.mail_send import Mailing
from sekisho.doors.http.ratelimit import Paces
from sekisho.doors.http.store import Store
from sekisho.identity import IPNetwork
from sekisho.ipaccess.activity import Activity, Method
from sekisho.policy import sending
from sekisho.queue.layout import Layout
from sekisho.submission import Intake
from tests.fakes.clock import FakeClock
from tests.fakes.control import RELAY, SEALER
from tests.fakes.spool import MemorySpool

CLIENT: Final = "192.0.2.7"


class ApiDoor:
    """Requests, one at a time; before each, caches hear of everything that was committed."""

    def __init__(
        self, control: Database, events: Database, *, spool: Path, clock: FakeClock, threads: ThreadPoolExecutor
    ) -> None:
        self.control = control
        self.events = events
        self.spool = spool
        self.clock = clock
        self.trusted_proxies: tuple[IPNetwork, ...] = ()
        self.feed_age_s = 0.0
        self.purged: list[tuple[str, int]] = []
        self.address = ip_address(CLIENT)
        self._position: int | None = None
        self.activity = Activity(control, Method.API, clock.now_ms)
        self.verifier = Verifier(
            control,
            threads=threads,
            clock=clock,
            feed_age_s=lambda: self.feed_age_s,
            on_attempt=self.activity.attempt,
            deadline_s=60,
        )
        self.mails = MemorySpool(clock)
        self.domains = SenderDomains(control, threads=threads, sealer=SEALER, relay=RELAY, deadline_s=60)
        self.mailing = Mailing(
            intake=Intake(
                spool=self.mails,
                domains=self.domains,
                body_path=Layout(spool).body,
                hostname="relay.example.net",
                node=7,
                clock=clock,
                recipient=sending.may_mail,
            ),
            admits=lambda identity: self.verifier.admits(identity, clock.now_ms()),
            memory=BodyMemory(),
            threads=threads,
            incoming=spool / "incoming",
            hostname="relay.example.net",
        )
        store = Store(control, threads)
        self.app = build(
            Parts(
                admission=Admission(
                    verifier=self.verifier,
                    store=store,
                    paces=Paces(),
                    clock=clock,
                    trusted_proxies=lambda: self.trusted_proxies,
                ),
                store=store,
                event_store=Store(events, threads),
                clock=clock,
                relay=RELAY,
                spool=spool,
                mailing=self.mailing,
                purging=self.purge,
            )
        )

    def purge(self, key_id: str, most: int) -> int:
        self.purged.append((key_id, most))
        return 7

    async def ask(
        self,
        method: str,
        path: str,
        key: Issued | str | None = None,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        address: str = CLIENT,
        **body: Any,  # json=, content=, params= of httpx
    ) -> httpx.Response:
        """Make one request; ``key`` is presented as a Bearer token."""
        self.catch_up()
        fields = list(headers.items() if isinstance(headers, Mapping) else headers)
        if key is not None:
            text = key if isinstance(key, str) else key.text.reveal().decode()
            fields.append(("authorization", f"Bearer {text}"))
        transport = httpx.ASGITransport(app=cast("Any", self.app), client=(address, 50_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://relay.example.net") as client:
            return await client.request(method, path, headers=fields, **body)

    def catch_up(self) -> None:
        """Hand over what changed, as the follower of the feed does."""
        with self.control.connect() as tx:
            changes = read(tx, self._position)
        if changes:
            self.verifier.apply(changes)
            self.domains.apply(changes)
            self._position = changes[-1].position


@asynccontextmanager
async def api_door(
    control: Database, events: Database, spool: Path, clock: FakeClock | None = None
) -> AsyncIterator[ApiDoor]:
    """Open the door on databases that have their tables."""
    with ThreadPoolExecutor(4) as threads:
        yield ApiDoor(control, events, spool=spool, clock=clock or FakeClock(), threads=threads)
