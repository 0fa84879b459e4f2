"""The first page: where the account stands, and its first steps, each as far as it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Response, get
from sqlalchemy import Connection, select

from sekisho import users
from sekisho.accounts import Account
from sekisho.apikeys.tables import Owner, keys_of
from sekisho.domains import Relay
from sekisho.domains.reading import assigned_to, list_claims
from sekisho.doors.dashboard.deps import TheParts, WebRequest
from sekisho.doors.dashboard.pages import page
from sekisho.doors.dashboard.visitor import Visiting
from sekisho.doors.http.store import EventStored, Stored
from sekisho.events.tables import event_day
from sekisho.teammates import pending_of


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done of the first steps."""

    domain: bool
    key: bool
    mail: bool
    teammate: bool

    @property
    def are_done(self) -> bool:
        return self.domain and self.key and self.mail and self.teammate


@get("/")
async def home(
    request: WebRequest, visitor: Visiting, parts: TheParts, store: Stored, event_store: EventStored
) -> Response[Any]:
    tenant = visitor.for_whom

    def look(tx: Connection) -> tuple[bool, bool, bool]:
        has_key = bool(keys_of(tx, Owner(tenant.account_id, tenant.subuser_id), limit=1))
        return _has_domain(tx, tenant, parts.relay), has_key, _has_teammate(tx, tenant)

    domain, key, teammate = await store.read(look)
    mail = await event_store.read(lambda tx: _has_sent(tx, tenant))
    return page(request, "home.html", steps=Steps(domain, key, mail, teammate))


def _has_domain(tx: Connection, tenant: Account, relay: Relay) -> bool:
    return any(
        claim.valid and (claim.owner_id == tenant.id or tenant.id in assigned_to(tx, claim.id))
        for claim in list_claims(tx, relay, tenant.account_id)
    )


def _has_teammate(tx: Connection, tenant: Account) -> bool:
    return users.count_users(tx, tenant.id) > 1 or bool(pending_of(tx, tenant.id))


def _has_sent(tx: Connection, tenant: Account) -> bool:
    mine = (event_day.c.account_id == tenant.account_id) & (event_day.c.subuser_id == (tenant.subuser_id or 0))
    return tx.execute(select(event_day.c.day).where(mine).limit(1)).first() is not None


HANDLERS = (home,)
