"""The only writers of people.

Each function is one change: checks, rows, audit row, all in the caller's transaction. What else goes with a change
(sessions that end, letters) is ``policy.people``'s.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from sekisho import accounts, audit
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.ids import UserId
from sekisho.refusal import Declined, Obstacle
from sekisho.users.model import (
    Profile,
    Role,
    User,
    by_login_email,
    by_username,
    encode_profile,
    encode_scopes,
    fold_email,
    fold_name,
)
from sekisho.users.tables import user, user_address
from sekisho.wire.mail.address import parse_path

USERNAME_MAX: Final = 64

# As accounts' names, and no longer: the two are one name space.
_USERNAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._@+-]{{0,{USERNAME_MAX - 1}}}")

_RESERVED: Final = frozenset({"pending"})
"""Words that stand where user names do in the vendor's paths."""

PROFILE_FIELD_MAX: Final = 255


def add(
    tx: Connection,
    tenant: Account,
    *,
    username: str,
    email: str,
    password: str,
    proved: bool = False,
    role: Role = Role.OWNER,
    scopes: frozenset[str] | None = None,
    restricted: bool = False,
    profile: Profile | None = None,
    language: str | None = None,
    by: By,
) -> User | Declined:
    """Let a person log in to an account or subuser.

    ``password`` is what ``hash_password`` made, empty for one who never logs in by it. ``proved``: that the address is
    his has been shown, so it is a name to log in with.
    """
    address = parse_path(email)
    if address is None or address.domain.startswith("["):
        return Declined(Obstacle.EMAIL_MALFORMED, f"{email!r} is not an e-mail address")
    login_email = fold_email(email) if proved else None
    declined = _name_fault(tx, tenant, username, login_email, None) or _email_fault(tx, login_email, None)
    if declined is not None:
        return declined
    if role is Role.OWNER and _has_owner(tx, tenant):
        return Declined(Obstacle.OWNER_EXISTS, f"{tenant.name} has an owner already")
    profile = profile or Profile()
    if (declined := _profile_fault(profile)) is not None:
        return declined
    values = {
        "account_id": tenant.id,
        "email": email,
        "password": password,
        "created_ms": by.at_ms,
        "username": username,
        "folded_username": fold_name(username),
        "login_email": login_email,
        "role": role.value,
        "scopes": encode_scopes(scopes),
        "restricted": restricted,
        "profile": encode_profile(profile),
        "language": language,
    }
    number = UserId(tx.execute(insert(user).values(values).returning(user.c.id)).scalar_one())
    details: dict[str, audit.Detail] = {"username": username, "role": role.value, "email": email}
    audit.record(tx, by=by, action="user.create", account_id=tenant.id, subject=username, details=details)
    return User(
        id=number,
        tenant_id=tenant.id,
        username=username,
        email=email,
        login_email=login_email,
        role=role,
        scopes=scopes,
        restricted=restricted,
        profile=profile,
        language=language,
        created_ms=by.at_ms,
        has_password=bool(password),
    )


def set_password(tx: Connection, person: User, password: str, *, by: By) -> User:
    """Let a person log in by another password; ``policy.people.change_password`` ends what the old one opened."""
    _set(tx, person, {"password": password})
    _leave_word(tx, person, "user.password", by)
    return replace(person, has_password=True)


def renew_hash(tx: Connection, user_id: UserId, *, before: str, after: str) -> None:
    """Keep the same password at today's cost; not when it was changed meanwhile."""
    same = (user.c.id == user_id) & (user.c.password == before)
    tx.execute(update(user).where(same).values(password=after))


def prove_email(tx: Connection, person: User, email: str, *, by: By) -> User | Declined:
    """Give a person the address that he has shown to be his: he is written to there and logs in with it.

    Of one proved twice, by two people at the same time, one is theirs. An owner's is the account's contact, too.
    """
    login_email = fold_email(email)
    if (declined := _email_fault(tx, login_email, person)) is not None:
        return declined
    if (person.email, person.login_email) == (email, login_email):
        return person
    _set(tx, person, {"email": email, "login_email": login_email})
    if person.role is Role.OWNER and (tenant := accounts.account_by_id(tx, person.tenant_id)) is not None:
        accounts.change_contact(tx, tenant, email, by=by)
    _leave_word(tx, person, "user.email", by, {"before": person.email, "after": email})
    return replace(person, email=email, login_email=login_email)


def rename(tx: Connection, tenant: Account, person: User, username: str, *, by: By) -> User | Declined:
    """Let a person log in by another user name; what the account or subuser is called stays."""
    if username == person.username:
        return person
    if (declined := _name_fault(tx, tenant, username, person.login_email, person)) is not None:
        return declined
    _set(tx, person, {"username": username, "folded_username": fold_name(username)})
    after = replace(person, username=username)
    _leave_word(tx, after, "user.rename", by, {"before": person.username, "after": username})
    return after


def set_rights(
    tx: Connection, person: User, *, role: Role, scopes: frozenset[str] | None, restricted: bool, by: By
) -> User:
    """Let somebody who is not the owner do something else from now on; raises ValueError for an owner.

    ``teammates`` decides who may give what.
    """
    if Role.OWNER in {person.role, role}:
        message = "an owner stays one, and nobody becomes one"
        raise ValueError(message)
    _set(tx, person, {"role": role.value, "scopes": encode_scopes(scopes), "restricted": restricted})
    details: dict[str, audit.Detail] = {"role": role.value, "restricted": restricted}
    _leave_word(tx, person, "user.rights", by, details)
    return replace(person, role=role, scopes=scopes, restricted=restricted)


def update_profile(tx: Connection, person: User, profile: Profile, *, by: By) -> User | Declined:
    """Keep what somebody says of himself; the audit log names the fields, not what stands there."""
    if (declined := _profile_fault(profile)) is not None:
        return declined
    old, new = msgspec.structs.asdict(person.profile), msgspec.structs.asdict(profile)
    changed = sorted(name for name in new if new[name] != old[name])
    if changed:
        _set(tx, person, {"profile": encode_profile(profile)})
        _leave_word(tx, person, "user.profile", by, {"fields": changed})
    return replace(person, profile=profile)


def set_language(tx: Connection, person: User, language: str | None) -> User:
    """Choose the language of pages and letters; None: the browser's."""
    _set(tx, person, {"language": language})
    return replace(person, language=language)


def remove(tx: Connection, person: User, *, by: By) -> None:
    """Let somebody in no more; ``policy.people.remove`` takes what else there is of him away first."""
    _leave_word(tx, person, "user.remove", by, {"email": person.email})
    tx.execute(delete(user_address).where(user_address.c.user_id == person.id))
    tx.execute(delete(user).where(user.c.id == person.id))


def propose_username(tx: Connection, tenant: Account, email: str) -> str:
    """Make a user name that is free of an address that its owner has proved: the address, or the part before the @."""
    if _name_fault(tx, tenant, email, fold_email(email), None) is None:
        return email
    local = re.sub(r"[^A-Za-z0-9._+-]", "", email.rpartition("@")[0]).lstrip("._+-")[: USERNAME_MAX - 6] or "user"
    number = 1
    while _name_fault(tx, tenant, (name := local if number == 1 else f"{local}-{number}"), None, None) is not None:
        number += 1
    return name


def _name_fault(
    tx: Connection, tenant: Account, username: str, login_email: str | None, person: User | None
) -> Declined | None:
    folded = fold_name(username)
    own = fold_name(tenant.name)
    if not _USERNAME.fullmatch(username):
        rule = f"1 to {USERNAME_MAX} of A-Z a-z 0-9 . _ @ + - and a letter or digit first"
        return Declined(Obstacle.USERNAME_MALFORMED, f"{username!r} cannot be a user name: {rule}")
    if "@" in username and folded not in {login_email, own}:
        # Else somebody could be listed under the address of somebody else.
        text = f"{username!r} cannot be a user name: an address is one only for whom it has been proved to belong to"
        return Declined(Obstacle.USERNAME_MALFORMED, text)
    other = by_username(tx, username)
    if (
        folded in _RESERVED
        or (other is not None and (person is None or other.id != person.id))
        or (
            # One name space with accounts and subusers, as at the vendor.
            folded != own and accounts.name_taken(tx, username)
        )
    ):
        return Declined(Obstacle.USERNAME_TAKEN, f"the user name {username!r} is taken")
    return None


def _email_fault(tx: Connection, login_email: str | None, person: User | None) -> Declined | None:
    other = None if login_email is None else by_login_email(tx, login_email)
    if other is None or (person is not None and other.id == person.id):
        return None
    return Declined(Obstacle.EMAIL_TAKEN, f"somebody logs in with {login_email} already")


def _profile_fault(profile: Profile) -> Declined | None:
    for name, value in msgspec.structs.asdict(profile).items():
        if len(value) > PROFILE_FIELD_MAX or not value.isprintable():
            text = f"{name} has at most {PROFILE_FIELD_MAX} printable characters"
            return Declined(Obstacle.PROFILE_MALFORMED, text)
    return None


def _has_owner(tx: Connection, tenant: Account) -> bool:
    owners = (user.c.account_id == tenant.id) & (user.c.role == Role.OWNER.value)
    return tx.execute(select(user.c.id).where(owners)).first() is not None


def _set(tx: Connection, person: User, values: dict[str, object]) -> None:
    tx.execute(update(user).where(user.c.id == person.id).values(values))


def _leave_word(
    tx: Connection, person: User, action: str, by: By, details: dict[str, audit.Detail] | None = None
) -> None:
    audit.record(tx, by=by, action=action, account_id=person.tenant_id, subject=person.username, details=details)
