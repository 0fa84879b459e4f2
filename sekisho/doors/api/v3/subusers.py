"""``/v3/subusers``: make, list, switch and delete subusers, and what they may send (sheet accounts.md §2)."""

from __future__ import annotations

import asyncio
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from litestar import Request, Response, delete, get, patch, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter, SkipValidation
from sqlalchemy import Connection

from sekisho import accounts, users
from sekisho.accounts import Account
from sekisho.credits import TOTAL_MAX, Credits, Reset
from sekisho.domains import Relay
from sekisho.doors.api.caller import Caller, Calling, must_stand
from sekisho.doors.api.paging import link_header, read_page
from sekisho.doors.api.problems import invalid, plain
from sekisho.doors.http.store import SpoolDirectory, Stored
from sekisho.policy.closing import delete_subuser
from sekisho.policy.opening import open_subuser
from sekisho.queue.credits import add_to_remaining, left
from sekisho.refusal import Declined, Obstacle
from sekisho.secret import Secret

REGION: Final = "global"
"""One server is one region; the name is the vendor's for its first."""

_IPS_MAX: Final = 1000

TheRelay = NamedDependency[SkipValidation[Relay]]


class Subuser(msgspec.Struct, frozen=True, omit_defaults=True):
    """One subuser as lists show it."""

    id: int
    username: str
    email: str
    disabled: bool
    region: str | None = None
    """Only when asked for."""


class NewSubuser(msgspec.Struct, frozen=True):
    """A subuser to be made. ``ips``: sending addresses of this server; checked when it has any configured."""

    username: str
    email: str
    password: str
    ips: list[str]
    region: Literal["global", "eu"] = "global"
    include_region: bool = False


class CreditAllocation(msgspec.Struct, frozen=True):
    """What a new subuser may send."""

    type: str = "unlimited"


class MadeSubuser(msgspec.Struct, frozen=True, omit_defaults=True):
    """A subuser that was made."""

    username: str
    user_id: int
    email: str
    credit_allocation: CreditAllocation
    region: str | None = None


class Switch(msgspec.Struct, frozen=True):
    """On or off."""

    disabled: bool | None = None


class CreditsShown(msgspec.Struct, frozen=True):
    """What a subuser may send. ``remain`` is null when unlimited; ``total`` and ``used`` unless recurring."""

    type: str
    reset_frequency: str | None
    remain: int | None
    total: int | None
    used: int | None


class CreditsWanted(msgspec.Struct, frozen=True):
    """A grant: ``recurring`` wants ``reset_frequency`` and ``total``, ``nonrecurring`` wants ``total``."""

    type: str
    reset_frequency: Literal["monthly", "weekly", "daily"] | None = None
    total: int | None = None


class CreditsAdded(msgspec.Struct, frozen=True):
    """How many more (or, negative, less) of what remains now."""

    allocation_update: int


@get("/v3/subusers", summary="List subusers")
async def listed(
    caller: Calling,
    store: Stored,
    request: Request[object, object, object],  # type: ignore[type-var]
    username: Annotated[str | None, QueryParameter(description="Only those whose name contains it.")] = None,
    limit: FromQuery[int | None] = None,
    offset: FromQuery[int | None] = None,
    region: FromQuery[Literal["all", "global", "eu"] | None] = None,
    include_region: FromQuery[bool] = False,
) -> Response[list[Subuser]]:
    page = read_page(limit, offset)
    if region == "eu":
        found: tuple[Account, ...] = ()
        total = 0
    else:
        found, total = await store.read(
            lambda tx: accounts.search_subusers(
                tx, caller.account_id, matching=username, limit=page.limit, offset=page.offset
            )
        )
    shown = [
        Subuser(
            one.id, one.name, one.owner_email or "", one.disabled_ms is not None, REGION if include_region else None
        )
        for one in found
    ]
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "include_region"]
    return Response(shown, headers={"Link": link_header("/v3/subusers", query, page, total)})


@post("/v3/subusers", summary="Make a subuser", status_code=200)
async def create(caller: Calling, store: Stored, relay: TheRelay, data: JSONBody[NewSubuser]) -> MadeSubuser:
    password = Secret(data.password)
    if (weakness := users.weakness_by_vendor(password)) is not None:
        raise invalid(weakness.value, "password")
    _check_addresses(data.ips, relay)
    if data.region != REGION:
        raise invalid(f"this server has one region, {REGION}", "region")
    digest = await asyncio.to_thread(users.hash_password, password)

    def make(tx: Connection) -> Account | Declined:
        must_stand(tx, caller)
        parent = _parent(tx, caller)
        made = open_subuser(tx, parent, name=data.username, email=data.email, password=digest, by=caller.by)
        if isinstance(made, Declined) and made.obstacle in {Obstacle.ACCOUNT_TAKEN, Obstacle.USERNAME_TAKEN}:
            raise invalid("username exists", "username")
        if isinstance(made, Declined) and made.obstacle is Obstacle.EMAIL_MALFORMED:
            raise invalid(made.text, "email")
        return made

    made = await store.write(make, field="username")
    region = REGION if data.include_region else None
    return MadeSubuser(made.name, made.id, made.owner_email or "", CreditAllocation(), region)


@patch("/v3/subusers/{subuser_name:str}", summary="Disable or enable a subuser", status_code=204)
async def switch(caller: Calling, store: Stored, subuser_name: FromPath[str], data: JSONBody[Switch]) -> None:
    if data.disabled is None:
        raise invalid("no fields provided", None)
    act = accounts.disable if data.disabled else accounts.enable
    await store.write(lambda tx: act(tx, _to_change(tx, caller, subuser_name), by=caller.by))


@delete("/v3/subusers/{subuser_name:str}", summary="Delete a subuser for good")
async def remove(caller: Calling, store: Stored, relay: TheRelay, subuser_name: FromPath[str]) -> None:
    await store.write(lambda tx: delete_subuser(tx, _to_change(tx, caller, subuser_name), relay=relay, by=caller.by))


@patch("/v3/subusers/{subuser_name:str}/website_access", summary="Let its people log in, or not", status_code=204)
async def switch_website(caller: Calling, store: Stored, subuser_name: FromPath[str], data: JSONBody[Switch]) -> None:
    disabled = data.disabled
    if disabled is None:
        raise invalid("no fields provided", None)
    await store.write(
        lambda tx: accounts.switch_website(tx, _to_change(tx, caller, subuser_name), disabled=disabled, by=caller.by)
    )


@get("/v3/subusers/{subuser_name:str}/credits", summary="What a subuser may send")
async def credits_read(
    caller: Calling, store: Stored, spool: SpoolDirectory, subuser_name: FromPath[str]
) -> CreditsShown:
    return await store.read(lambda tx: show_credits(find(tx, caller, subuser_name).credits, spool, caller.now_ms))


@put("/v3/subusers/{subuser_name:str}/credits", summary="Set what a subuser may send")
async def credits_set(
    caller: Calling, store: Stored, spool: SpoolDirectory, subuser_name: FromPath[str], data: JSONBody[CreditsWanted]
) -> CreditsShown:
    def grant(tx: Connection) -> Account:
        subuser = _to_change(tx, caller, subuser_name)
        return accounts.grant_credits(tx, subuser, _wanted(subuser, data, caller.now_ms), by=caller.by)

    after = await store.write(grant)
    return await store.in_thread(lambda: show_credits(after.credits, spool, caller.now_ms))


@patch("/v3/subusers/{subuser_name:str}/credits/remaining", summary="Add to what remains, or take away")
async def credits_add(
    caller: Calling, store: Stored, spool: SpoolDirectory, subuser_name: FromPath[str], data: JSONBody[CreditsAdded]
) -> CreditsShown:
    if abs(data.allocation_update) > TOTAL_MAX:
        raise invalid(f"allocation_update must be within {TOTAL_MAX}", "allocation_update")

    def add(tx: Connection) -> Account | Declined:
        return add_to_remaining(tx, spool, _to_change(tx, caller, subuser_name), data.allocation_update, by=caller.by)

    after = await store.write(add, field="allocation_update")
    return await store.in_thread(lambda: show_credits(after.credits, spool, caller.now_ms))


def find(tx: Connection, caller: Caller, name: str) -> Account:
    """Find the caller's subuser; one that never was and somebody else's are equally not found."""
    found = accounts.find_subuser_of(tx, caller.account_id, name)
    if found is None:
        raise plain(404)
    return found


def _to_change(tx: Connection, caller: Caller, name: str) -> Account:
    must_stand(tx, caller)
    return find(tx, caller, name)


def show_credits(granted: Credits | None, spool: Path, now_ms: int) -> CreditsShown:
    """Show a grant and what was used of it; reads the spool's counter, in a thread."""
    if granted is None:
        return CreditsShown("unlimited", None, None, None, None)
    now = left(spool, granted, now_ms)
    if granted.reset is None:
        return CreditsShown("nonrecurring", None, now.remain, None, None)
    return CreditsShown("recurring", granted.reset.value, now.remain, granted.total, now.used)


def _wanted(subuser: Account, data: JSONBody[CreditsWanted], now_ms: int) -> Credits | None:
    if data.type not in {"unlimited", "recurring", "nonrecurring"}:
        raise invalid("Type should be set to 'recurring', 'nonrecurring', or 'unlimited'", "type")
    if data.type == "unlimited":
        return None
    if data.total is None or not 1 <= data.total <= TOTAL_MAX:
        raise invalid(f"total must be from 1 to {TOTAL_MAX}", "total")
    if data.type == "nonrecurring":
        return Credits(subuser.id, data.total, None, now_ms)
    if data.reset_frequency is None:
        raise invalid("reset_frequency must be 'daily', 'weekly' or 'monthly'", "reset_frequency")
    return Credits(subuser.id, data.total, Reset(data.reset_frequency), now_ms)


def _check_addresses(ips: list[str], relay: Relay) -> None:
    """Addresses must be ours, where the server has some to choose from; pools of them come with their own endpoints."""
    ours = {str(address) for address in relay.source_addresses}
    for ip in ips[:_IPS_MAX]:
        try:
            known = str(IPv4Address(ip)) in ours or not ours
        except ValueError:
            known = False
        if not known:
            raise invalid("unable to validate IPs at this time", "ips")
    if len(ips) > _IPS_MAX:
        raise invalid("unable to validate IPs at this time", "ips")


def _parent(tx: Connection, caller: Caller) -> Account:
    found = accounts.account_by_id(tx, caller.account_id)
    if found is None:
        raise plain(404)
    return found


HANDLERS = (
    listed,
    create,
    switch,
    remove,
    switch_website,
    credits_read,
    credits_set,
    credits_add,
)
