"""A teammate who goes: what he could do ends, what he made is decided on, and the owner is told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, update

from sekisho import audit, notices, teammates
from sekisho.accounts import Account
from sekisho.apikeys import actions as keys
from sekisho.apikeys.model import ApiKey
from sekisho.apikeys.tables import api_key, keys_made_by
from sekisho.audit import By
from sekisho.ids import UserId
from sekisho.policy import people
from sekisho.refusal import Declined, Obstacle
from sekisho.users.model import User

_NAMED: Final = 20
"""Keys that a notice names one by one."""


@dataclass(frozen=True, slots=True)
class Removed:
    """A teammate who is gone, and the keys that he made."""

    username: str
    revoked: tuple[ApiKey, ...]
    kept: tuple[ApiKey, ...]


def remove_teammate(
    tx: Connection, tenant: Account, person: User, *, revoke: Collection[str], actor_id: UserId | None, by: By
) -> Removed | Declined:
    """Let a teammate in no more. Of the keys that he made, those named end, the others go on; the owner is told.

    What a key of a plain teammate could not do (manage teammates, act for subusers) a kept one cannot do now either;
    one of an administrator becomes the account's own.
    """
    if (declined := teammates.out_of_reach(person, actor_id)) is not None:
        return declined
    made = keys_made_by(tx, person.id)
    if unknown := frozenset(revoke) - {key.id for key in made}:
        return Declined(Obstacle.KEY_UNKNOWN, f"{person.username} made no key {min(unknown)[:22]!r}")
    revoked = tuple(key for key in made if key.id in revoke)
    kept = tuple(key for key in made if key.id not in revoke)
    for key in revoked:
        keys.revoke(tx, key.id, compromised=False, by=by)
    if person.is_manager:
        tx.execute(update(api_key).where(api_key.c.maker_id == person.id).values(maker_id=None))
    details: dict[str, audit.Detail] = {
        "email": person.email,
        "keys_revoked": [key.id for key in revoked],
        "keys_kept": [key.id for key in kept],
    }
    audit.record(tx, by=by, action="teammate.remove", account_id=tenant.id, subject=person.username, details=details)
    people.remove(tx, person, by=by)
    text = _told(person, kept)
    notices.tell(tx, tenant.id, notices.Kind.TEAMMATE_REMOVED, person.username, text, at_ms=by.at_ms)
    return Removed(person.username, revoked, kept)


def _told(person: User, kept: Collection[ApiKey]) -> str:
    gone = f"{person.username} ({person.email}) is no teammate any more, and was logged out everywhere."
    if not kept:
        return gone
    named = ", ".join(f"{key.id} ({key.name})" for key in list(kept)[:_NAMED])
    more = "" if len(kept) <= _NAMED else f" and {len(kept) - _NAMED} more"
    return f"{gone} Keys that this person made still work: {named}{more}. Revoke what nobody else uses."
