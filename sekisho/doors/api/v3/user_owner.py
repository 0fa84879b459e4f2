"""``/v3/user/…``: the person who owns the account or subuser: address, user name, profile (sheet accounts.md §8)."""

from __future__ import annotations

import msgspec
from litestar import get, patch, put
from litestar.params import JSONBody
from sqlalchemy import Connection

from sekisho import accounts, teammates, users
from sekisho.accounts import Account
from sekisho.apikeys.tables import maker_of
from sekisho.doors.api.caller import Caller, Calling, must_stand
from sekisho.doors.api.problems import NOT_FOUND, invalid, plain, problem
from sekisho.doors.http.store import Stored
from sekisho.policy import people
from sekisho.refusal import Declined
from sekisho.users import Profile, User

Text = str | msgspec.UnsetType


class Email(msgspec.Struct, frozen=True):
    """An e-mail address."""

    email: str


class NewUsername(msgspec.Struct, frozen=True):
    """The name that the owner logs in with; what the account or subuser is called stays."""

    username: str


class Username(msgspec.Struct, frozen=True):
    """``user_id`` is the number of the account or subuser."""

    username: str
    user_id: int


class ProfileShown(msgspec.Struct, frozen=True):
    """What the owner says of himself; nothing depends on it."""

    address: str
    address2: str
    city: str
    company: str
    country: str
    first_name: str
    last_name: str
    phone: str
    state: str
    website: str
    zip: str


class ProfileChange(msgspec.Struct, frozen=True):
    """At least one of these; what is left out stays."""

    address: Text = msgspec.UNSET
    address2: Text = msgspec.UNSET
    city: Text = msgspec.UNSET
    company: Text = msgspec.UNSET
    country: Text = msgspec.UNSET
    first_name: Text = msgspec.UNSET
    last_name: Text = msgspec.UNSET
    phone: Text = msgspec.UNSET
    state: Text = msgspec.UNSET
    website: Text = msgspec.UNSET
    zip: Text = msgspec.UNSET


@get("/v3/user/email", summary="The owner's e-mail address")
async def email(caller: Calling, store: Stored) -> Email:
    tenant, owner = await store.read(lambda tx: _found(tx, caller))
    # A subuser may have nobody who is written to.
    return Email(tenant.owner_email or "" if owner is None else owner.email)


@put("/v3/user/email", summary="Ask the owner to confirm another e-mail address")
async def change_email(caller: Calling, store: Stored, data: JSONBody[Email]) -> Email:
    def ask(tx: Connection) -> Declined | None:
        _, owner = the_owner(tx, caller)
        return people.ask_for_email(tx, owner, data.email, by=caller.by)

    await store.write(ask, field="email")
    return Email(data.email)


@get("/v3/user/username", summary="The owner's user name")
async def username(caller: Calling, store: Stored) -> Username:
    tenant, owner = await store.read(lambda tx: _found(tx, caller))
    return Username(tenant.name if owner is None else owner.username, tenant.id)


@put("/v3/user/username", summary="Change the name that the owner logs in with")
async def change_username(caller: Calling, store: Stored, data: JSONBody[NewUsername]) -> NewUsername:
    def rename(tx: Connection) -> User | Declined:
        tenant, owner = the_owner(tx, caller)
        return users.rename(tx, tenant, owner, data.username, by=caller.by)

    after = await store.write(rename, field="username")
    return NewUsername(after.username)


@get("/v3/user/profile", summary="What the owner says of himself")
async def profile(caller: Calling, store: Stored) -> ProfileShown:
    _, owner = await store.read(lambda tx: _found(tx, caller))
    return _shown(Profile() if owner is None else owner.profile)


@patch("/v3/user/profile", summary="Change some of what the owner says of himself")
async def change_profile(caller: Calling, store: Stored, data: JSONBody[ProfileChange]) -> ProfileShown:
    changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    if not changes:
        raise invalid("at least one field of the profile must be given", None)

    def change(tx: Connection) -> User | Declined:
        _, owner = the_owner(tx, caller)
        return users.update_profile(tx, owner, msgspec.structs.replace(owner.profile, **changes), by=caller.by)

    return _shown((await store.write(change)).profile)


HANDLERS = (email, change_email, username, change_username, profile, change_profile)


def the_owner(tx: Connection, caller: Caller) -> tuple[Account, User]:
    """Find whom the request is about, for a change; raises Problem.

    An owner's log-in is changed by his own keys, by those that nobody in particular made, and by a parent that acts on
    a subuser's behalf: else an administrator, or a teammate, could become the owner by way of a key.
    """
    must_stand(tx, caller)
    tenant, owner = _found(tx, caller)
    if not teammates.key_manages(tx, caller.identity.key_id, tenant):
        raise plain(403)
    is_own = caller.owner_id == caller.identity.sender_id
    maker_id = maker_of(tx, caller.identity.key_id)
    if is_own and maker_id is not None and (owner is None or maker_id != owner.id):
        raise plain(403)
    if owner is None:
        raise problem(404, NOT_FOUND, hint="nobody has set this account up yet")
    return tenant, owner


def _found(tx: Connection, caller: Caller) -> tuple[Account, User | None]:
    tenant = accounts.account_by_id(tx, caller.owner_id)
    if tenant is None:
        raise plain(404)
    return tenant, users.owner_of(tx, tenant.id)


def _shown(profile: Profile) -> ProfileShown:
    return ProfileShown(**msgspec.structs.asdict(profile))
