"""The only writers of invitations, of what teammates may do, and of what they ask for.

Each function is one change: checks, rows, audit row, letter, all in the caller's transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from sekisho import audit, letters, links, notices, users
from sekisho.accounts import Account, account_by_id, list_subusers, names
from sekisho.apikeys.groups import GROUPS
from sekisho.audit import By
from sekisho.identity import Identity
from sekisho.ids import AccountId, UserId
from sekisho.languages import language_of
from sekisho.refusal import Declined, Obstacle
from sekisho.teammates import granting
from sekisho.teammates.model import (
    INVITATION_MS,
    LETTERS_A_DAY,
    TEAMMATES_MAX,
    Grant,
    Invitation,
    Permission,
    Rights,
    ScopeRequest,
    encode_access,
    encode_scopes,
)
from sekisho.teammates.reading import Asked, access_of, count_of, invitation_by_id, pending_of
from sekisho.teammates.tables import invitation, scope_request, subuser_access
from sekisho.users.model import Profile, Role, User
from sekisho.wire.mail.address import parse_path

_DAY_MS: Final = 24 * 3_600_000

# Inviting.


def invite(
    tx: Connection,
    tenant: Account,
    email: str,
    rights: Rights,
    *,
    granter: Identity,
    language: str | None = None,
    by: By,
) -> Invitation | Declined:
    """Invite somebody by mail; ``granter`` is who gives the rights, and gives none that he lacks.

    ``language`` is the letter's; None: the owner's.
    """
    address = parse_path(email)
    if address is None or address.domain.startswith("["):
        return Declined(Obstacle.EMAIL_MALFORMED, f"{email!r} is not an e-mail address")
    if (declined := _rights_fault(tx, tenant, rights, granter)) is not None:
        return declined
    if count_of(tx, tenant.id) >= TEAMMATES_MAX:
        return Declined(Obstacle.TEAMMATES_TOO_MANY, f"{tenant.name} has {TEAMMATES_MAX} teammates already")
    if (declined := _taken(tx, tenant, str(address))) or (declined := _too_many_letters(tx, tenant, by.at_ms)):
        return declined
    made = Invitation(
        id=0,
        token=str(uuid.uuid4()),
        tenant_id=tenant.id,
        email=str(address),
        rights=rights,
        created_ms=by.at_ms,
        expires_ms=by.at_ms + INVITATION_MS,
    )
    values = insert(invitation).values(
        token=made.token,
        account_id=tenant.id,
        email=made.email,
        scopes=None if rights.is_admin else encode_scopes(rights.scopes),
        is_admin=rights.is_admin,
        restricted=rights.restricted,
        access=None if rights.access is None else encode_access(rights.access),
        created_ms=made.created_ms,
        expires_ms=made.expires_ms,
    )
    made = replace(made, id=tx.execute(values.returning(invitation.c.id)).scalar_one())
    details = {"email": made.email, **_told(tx, rights)}
    audit.record(tx, by=by, action="teammate.invite", account_id=tenant.id, subject=made.token, details=details)
    _write(tx, made, language, by.at_ms)
    return made


def resend(
    tx: Connection, tenant: Account, found: Invitation, *, language: str | None = None, by: By
) -> Invitation | Declined:
    """Send an invitation again, expired or not: it is good anew, and the link that was sent before is not."""
    if (declined := _too_many_letters(tx, tenant, by.at_ms)) is not None:
        return declined
    again = replace(found, expires_ms=by.at_ms + INVITATION_MS)
    tx.execute(update(invitation).where(invitation.c.id == found.id).values(expires_ms=again.expires_ms))
    links.end(tx, links.Purpose.INVITE, at_ms=by.at_ms, invitation_id=found.id)
    details = {"email": found.email}
    audit.record(tx, by=by, action="teammate.resend", account_id=tenant.id, subject=found.token, details=details)
    _write(tx, again, language, by.at_ms)
    return again


def withdraw(tx: Connection, found: Invitation, *, by: By) -> None:
    """Take an invitation back: what was sent opens nothing any more."""
    _forget(tx, found, by.at_ms)
    details = {"email": found.email}
    audit.record(
        tx, by=by, action="teammate.withdraw", account_id=found.tenant_id, subject=found.token, details=details
    )


def accept(
    tx: Connection,
    invitation_id: int,
    *,
    username: str,
    password: str,
    profile: Profile | None = None,
    language: str | None = None,
    by: By,
) -> User | Declined:
    """Make the teammate of an invitation; whoever has its link owns the address.

    ``password`` is what ``users.hash_password`` made, empty for one who logs in elsewhere. Once: the invitation is
    gone with it. Subusers that are gone meanwhile are left out.
    """
    found = invitation_by_id(tx, invitation_id)
    tenant = None if found is None else account_by_id(tx, found.tenant_id)
    if found is None or tenant is None or found.expires_ms <= by.at_ms:
        return Declined(Obstacle.INVITATION_UNKNOWN, "the invitation was taken back, used, or has expired")
    rights = found.rights
    person = users.add(
        tx,
        tenant,
        username=username,
        email=found.email,
        proved=True,
        password=password,
        role=Role.ADMIN if rights.is_admin else Role.TEAMMATE,
        scopes=_stored(rights),
        restricted=rights.restricted,
        profile=profile,
        language=language,
        by=by,
    )
    if isinstance(person, Declined):
        return person
    _set_access(tx, tenant, person.id, rights.access or {})
    _forget(tx, found, by.at_ms)
    details = {"email": found.email, "invitation": found.token, **_told(tx, rights)}
    audit.record(tx, by=by, action="teammate.join", account_id=tenant.id, subject=person.username, details=details)
    return person


# Changing.


def rights_of(tx: Connection, person: User) -> Rights:
    """Read what a teammate may do."""
    if person.is_manager:
        return Rights(is_admin=True)
    if person.restricted:
        return Rights(access=access_of(tx, person.id))
    return Rights(scopes=person.scopes or frozenset())


def change(
    tx: Connection, tenant: Account, person: User, rights: Rights, *, granter: Identity, actor_id: UserId | None, by: By
) -> User | Declined:
    """Let a teammate do something else from now on; ``actor_id`` is the person who does it, also by a key.

    In reach is only who could have been made as he is by ``granter``; never oneself, never the owner.
    """
    before = rights_of(tx, person)
    declined = (
        out_of_reach(person, actor_id)
        or _reach_fault(granter, before, tenant)
        or _rights_fault(tx, tenant, rights, granter)
    )
    if declined is not None:
        return declined
    after = users.set_rights(
        tx,
        person,
        role=Role.ADMIN if rights.is_admin else Role.TEAMMATE,
        scopes=_stored(rights),
        restricted=rights.restricted,
        by=by,
    )
    _set_access(tx, tenant, person.id, rights.access or {})
    if rights.is_admin or rights.restricted:
        tx.execute(delete(scope_request).where(scope_request.c.user_id == person.id))
    details = {**{f"{name}_before": value for name, value in _told(tx, before).items()}, **_told(tx, rights)}
    audit.record(tx, by=by, action="teammate.change", account_id=tenant.id, subject=person.username, details=details)
    return after


def forget(tx: Connection, user_id: UserId) -> None:
    """Take away what is kept here of a person who goes."""
    tx.execute(delete(subuser_access).where(subuser_access.c.user_id == user_id))
    tx.execute(delete(scope_request).where(scope_request.c.user_id == user_id))


# Asking for more.


def ask(tx: Connection, tenant: Account, person: User, group: str, *, by: By) -> ScopeRequest | Declined:
    """Ask for a group of scopes; again is the same request. Who manages the account is told."""
    wanted = frozenset(GROUPS.get(group, ()))
    if not wanted:
        return Declined(Obstacle.SCOPE_UNKNOWN, f"there is no group of scopes {group!r}")
    if person.is_manager or person.restricted:
        text = "only a teammate with scopes of his own asks for more"
        return Declined(Obstacle.TEAMMATE_OUT_OF_REACH, text)
    mine = (scope_request.c.user_id == person.id) & (scope_request.c.scope_group == group)
    row = tx.execute(select(scope_request).where(mine)).one_or_none()
    if row is not None:
        return ScopeRequest(row.id, person.id, group, row.created_ms)
    values = insert(scope_request).values(user_id=person.id, scope_group=group, created_ms=by.at_ms)
    made = ScopeRequest(tx.execute(values.returning(scope_request.c.id)).scalar_one(), person.id, group, by.at_ms)
    details = {"group": group}
    audit.record(tx, by=by, action="teammate.ask", account_id=tenant.id, subject=person.username, details=details)
    text = f"{person.username} ({person.email}) asks for the scopes of {group}: see the teammates of {tenant.name}."
    notices.tell(tx, tenant.id, notices.Kind.SCOPES_ASKED, f"{person.username}: {group}"[:255], text, at_ms=by.at_ms)
    return made


def approve(
    tx: Connection, tenant: Account, asked: Asked, *, granter: Identity, actor_id: UserId | None, by: By
) -> User | Declined:
    """Give a teammate the whole group that he asks for, beside what he has."""
    person = asked.person
    if (declined := out_of_reach(person, actor_id)) is not None:
        return declined
    of_subuser = tenant.subuser_id is not None
    group = Rights(scopes=asked.request.scopes & granting.all_of(Rights(is_admin=True), of_subuser=of_subuser))
    if (declined := granting.may_give(granter, group, of_subuser=of_subuser)) is not None:
        return declined
    _settle(tx, tenant, asked, "teammate.approve", by)
    if person.is_manager or person.restricted:
        return person
    scopes = (person.scopes or frozenset()) | group.scopes
    return users.set_rights(tx, person, role=Role.TEAMMATE, scopes=scopes, restricted=False, by=by)


def deny(tx: Connection, tenant: Account, asked: Asked, *, by: By) -> None:
    """Leave a teammate with what he has."""
    _settle(tx, tenant, asked, "teammate.deny", by)


# The end of a subuser.


def erase(tx: Connection, subuser: Account, *, at_ms: int) -> None:
    """Forget who is invited to a subuser that goes, and who of its parent's may act for it."""
    for one in pending_of(tx, subuser.id):
        _forget(tx, one, at_ms)
    tx.execute(delete(subuser_access).where(subuser_access.c.subuser_id == subuser.id))


# Judging.


def _rights_fault(tx: Connection, tenant: Account, rights: Rights, granter: Identity) -> Declined | None:
    of_subuser = tenant.subuser_id is not None
    if (declined := granting.fault(rights, of_subuser=of_subuser)) is not None:
        return declined
    if rights.access:
        mine = {one.id for one in list_subusers(tx, tenant.id)}
        if not rights.access.keys() <= mine:
            return Declined(Obstacle.SUBUSER_UNKNOWN, f"{tenant.name} has no such subuser")
    return granting.may_give(granter, rights, of_subuser=of_subuser)


def _reach_fault(granter: Identity, rights: Rights, tenant: Account) -> Declined | None:
    if granting.may_give(granter, rights, of_subuser=tenant.subuser_id is not None) is None:
        return None
    return Declined(Obstacle.TEAMMATE_OUT_OF_REACH, "he may do more than who would change it")


def out_of_reach(person: User, actor_id: UserId | None) -> Declined | None:
    """Say why somebody is changed or removed by nobody, or not by this person."""
    if person.role is Role.OWNER:
        return Declined(Obstacle.TEAMMATE_OUT_OF_REACH, "the owner is no teammate: an owner stays, with everything")
    if person.id == actor_id:
        text = "nobody changes or removes himself: another administrator does, or the owner"
        return Declined(Obstacle.TEAMMATE_OUT_OF_REACH, text)
    return None


def _taken(tx: Connection, tenant: Account, email: str) -> Declined | None:
    """Whether one of this tenant's own has that address; what others have is nobody's business here."""
    folded = email.lower()
    if any(one.email.lower() == folded for one in users.users_of(tx, tenant.id)):
        return Declined(Obstacle.TEAMMATE_TAKEN, f"{email} is a teammate already")
    if any(one.email.lower() == folded for one in pending_of(tx, tenant.id)):
        return Declined(Obstacle.TEAMMATE_TAKEN, f"{email} is invited already: send that invitation again")
    return None


def _too_many_letters(tx: Connection, tenant: Account, at_ms: int) -> Declined | None:
    if letters.count(tx, letters.Kind.INVITE, account_id=tenant.id, since_ms=at_ms - _DAY_MS) < LETTERS_A_DAY:
        return None
    text = f"{tenant.name} has sent {LETTERS_A_DAY} invitations within a day: more of them tomorrow"
    return Declined(Obstacle.INVITATIONS_TOO_MANY, text)


# Writing.


def _write(tx: Connection, found: Invitation, language: str | None, at_ms: int) -> None:
    owner = users.owner_of(tx, found.tenant_id)
    letters.ask(
        tx,
        letters.Kind.INVITE,
        found.email,
        at_ms=at_ms,
        language=language_of(language or (None if owner is None else owner.language)).value,
        account_id=found.tenant_id,
        invitation_id=found.id,
    )


def _forget(tx: Connection, found: Invitation, at_ms: int) -> None:
    links.erase_invitation(tx, found.id)
    letters.detach_invitation(tx, found.id, at_ms=at_ms)
    tx.execute(delete(invitation).where(invitation.c.id == found.id))


def _settle(tx: Connection, tenant: Account, asked: Asked, action: str, by: By) -> None:
    tx.execute(delete(scope_request).where(scope_request.c.id == asked.request.id))
    details = {"group": asked.request.group}
    audit.record(tx, by=by, action=action, account_id=tenant.id, subject=asked.person.username, details=details)


def _stored(rights: Rights) -> frozenset[str] | None:
    return None if rights.is_admin else granting.all_of(rights, of_subuser=False)


def _set_access(tx: Connection, tenant: Account, user_id: UserId, access: Mapping[AccountId, Grant]) -> None:
    tx.execute(delete(subuser_access).where(subuser_access.c.user_id == user_id))
    there = {one.id for one in list_subusers(tx, tenant.id)} if access else set()
    for subuser_id, grant in access.items():
        if subuser_id in there:
            scopes = None if grant.permission is Permission.ADMIN else encode_scopes(grant.scopes)
            row = {"user_id": user_id, "subuser_id": subuser_id, "permission_type": grant.permission.value}
            tx.execute(insert(subuser_access).values(**row, scopes=scopes))


def _told(tx: Connection, rights: Rights) -> dict[str, audit.Detail]:
    """What rights are, for the audit log."""
    if rights.is_admin:
        return {"rights": "admin"}
    if rights.access is None:
        return {"rights": sorted(rights.scopes)}
    called = names(tx, rights.access)
    return {
        "rights": [
            f"{called.get(number, number)}: "
            + ("admin" if grant.permission is Permission.ADMIN else " ".join(sorted(grant.scopes)))
            for number, grant in sorted(rights.access.items())
        ]
    }
