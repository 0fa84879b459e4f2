"""The only writers of API keys.

Each function is one change: checks, rows, audit row, feed row, all in the caller's transaction.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from sekisho import audit, changes
from sekisho.accounts import Account
from sekisho.apikeys import scopes, used
from sekisho.apikeys.model import (
    KEYS_MAX,
    NAME_MAX,
    ApiKey,
    Hold,
    HoldReason,
    digest_of,
    key_id_of,
    new_text,
)
from sekisho.apikeys.policy_text import encode_policy
from sekisho.apikeys.tables import api_key, find_key
from sekisho.audit import By
from sekisho.changes import ChangeKind
from sekisho.identity import KeyPolicy
from sekisho.ids import KeyId
from sekisho.refusal import Declined, Obstacle
from sekisho.secret import Secret

_TEXT_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Wish:
    """What a new key is asked to be."""

    name: str
    policy: KeyPolicy
    scopes: Collection[str] | None = None
    """None = full access."""
    canary: bool = False
    """It opens nothing, and its use alarms."""
    maker_id: int | None = None
    """The person whose key it is to be counted as: who makes it, or who made the key that makes it."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key, with the only copy of its text that there will ever be."""

    key: ApiKey
    text: Secret[bytes]


def issue(tx: Connection, owner: Account, wish: Wish, *, by: By) -> Issued | Declined:
    """Make a key for an account or a subuser."""
    text = new_text()
    made = _add(tx, owner, wish, text, imported=False, by=by)
    return made if isinstance(made, Declined) else Issued(made, text)


def import_text(tx: Connection, owner: Account, wish: Wish, text: Secret[bytes], *, by: By) -> ApiKey | Declined:
    """Accept a key that another provider made, from now on; its text is judged and digested, never kept."""
    key_id = key_id_of(text.reveal())
    if key_id is None:
        form = "'SG.', 22 characters, '.', 43 characters, each a letter, a digit, '_' or '-'"
        return Declined(Obstacle.KEY_MALFORMED, f"that is not the text of an API key ({form})")
    digest = tx.execute(select(api_key.c.digest).where(api_key.c.id == key_id)).scalar()
    if digest is not None:
        return Declined(Obstacle.KEY_TAKEN, _taken(key_id, hmac.compare_digest(digest, digest_of(text.reveal()))))
    return _add(tx, owner, wish, text, imported=True, by=by)


def revoke(tx: Connection, key_id: str, *, compromised: bool, by: By) -> ApiKey | Declined:
    """End a key for good; ``compromised`` also holds what it has queued.

    Again is a no-op with the same answer, except that a revoked key can still be called compromised (not the reverse).
    """
    found = find_key(tx, key_id)
    if found is None:
        return no_such_key(key_id)
    if found.revoked_ms is not None and (found.compromised or not compromised):
        return found
    ended = replace(found, revoked_ms=found.revoked_ms or by.at_ms, compromised=compromised)
    tx.execute(
        update(api_key)
        .where(api_key.c.id == found.id)
        .values(revoked_ms=ended.revoked_ms, compromised=ended.compromised)
    )
    _leave_word(tx, ended, "key.revoke", ChangeKind.KEY_REVOKED, by, {"compromised": compromised})
    return ended


@dataclass(frozen=True, slots=True)
class Change:
    """What a key is to be from now on; None: as it was."""

    name: str | None = None
    scopes: Collection[str] | None = None
    policy: KeyPolicy | None = None


def change(tx: Connection, key: ApiKey, wish: Change, *, by: By) -> ApiKey | Declined:
    """Rename, re-scope or limit a key that is in force."""
    after = key
    if wish.name is not None:
        if (declined := _name_fault(wish.name)) is not None:
            return declined
        after = replace(after, name=wish.name.strip())
    if wish.scopes is not None:
        given = scopes.check(wish.scopes, of_subuser=key.subuser_id is not None)
        if isinstance(given, Declined):
            return given
        after = replace(after, given=frozenset(given))
    if wish.policy is not None:
        after = replace(after, policy=wish.policy)
    if after == key:
        return key
    tx.execute(update(api_key).where(api_key.c.id == key.id).values(_columns(after)))
    was, now = _told(key), _told(after)
    details: dict[str, audit.Detail] = {}
    for name in now:
        if was[name] != now[name]:
            details |= {f"{name}_before": was[name], name: now[name]}
    _leave_word(tx, after, "key.change", ChangeKind.KEY_CHANGED, by, details)
    return after


def hold(tx: Connection, key: ApiKey, reason: HoldReason, text: str, *, by: By) -> ApiKey:
    """Let a key open nothing and its queued mail wait, until ``release``. One that is held stays as it is."""
    if key.hold is not None:
        return key
    held = replace(key, hold=Hold(by.at_ms, reason, text[:_TEXT_MAX]))
    tx.execute(update(api_key).where(api_key.c.id == key.id).values(_columns(held)))
    _leave_word(tx, held, "key.hold", ChangeKind.KEY_CHANGED, by, {"reason": reason.value, "text": text[:_TEXT_MAX]})
    return held


def release(tx: Connection, key: ApiKey, *, by: By) -> ApiKey:
    """Let go on what was held: the key, unless it is revoked, and the mail it has queued. Again is a no-op."""
    if key.hold is None and (not key.compromised or key.let_go_ms is not None):
        return key
    let_go_ms = by.at_ms if key.compromised and key.let_go_ms is None else key.let_go_ms
    released = replace(key, hold=None, let_go_ms=let_go_ms)
    tx.execute(update(api_key).where(api_key.c.id == key.id).values(_columns(released)))
    used.trust(tx, key.id, at_ms=by.at_ms)
    _leave_word(tx, released, "key.release", ChangeKind.KEY_CHANGED, by, {"compromised": key.compromised})
    return released


def note_purge(tx: Connection, key: ApiKey, *, by: By) -> ApiKey | Declined:
    """Write down that a key's queued mail is going to be dropped, before it is: the spool is another file."""
    if key.hold is None and not key.compromised:
        return Declined(Obstacle.KEY_NOT_STOPPED, "only the mail of a compromised or held key is purged")
    whose = key.account_id if key.subuser_id is None else key.subuser_id
    audit.record(tx, by=by, action="key.purge", account_id=whose, subject=key.id)
    return key


def revoke_all_of(tx: Connection, subuser: Account, *, by: By) -> int:
    """End every key of a subuser that goes; how many there were."""
    mine = select(api_key.c.id).where(api_key.c.subuser_id == subuser.id, api_key.c.revoked_ms.is_(None))
    key_ids = tx.execute(mine).scalars().all()
    for key_id in key_ids:
        revoke(tx, key_id, compromised=False, by=by)
    return len(key_ids)


def no_such_key(key_id: str) -> Declined:
    # Whoever pastes a whole key in place of its id must not find it in a log.
    shown = f"{key_id[:22]!r}" if len(key_id) <= 22 else "of that id (the 22 characters in the middle of a key)"
    return Declined(Obstacle.KEY_UNKNOWN, f"there is no key {shown}")


def _add(
    tx: Connection, owner: Account, wish: Wish, text: Secret[bytes], *, imported: bool, by: By
) -> ApiKey | Declined:
    if (declined := _name_fault(wish.name)) is not None:
        return declined
    given = wish.scopes if wish.scopes is None else scopes.check(wish.scopes, of_subuser=owner.subuser_id is not None)
    if isinstance(given, Declined):
        return given
    if _count(tx, owner) >= KEYS_MAX:
        return Declined(Obstacle.KEYS_TOO_MANY, f"{owner.name} has {KEYS_MAX} keys already; revoke one first")
    key_id = key_id_of(text.reveal())
    assert key_id is not None, "only texts that were made or judged here arrive"  # noqa: S101
    made = ApiKey(
        id=key_id,
        account_id=owner.account_id,
        subuser_id=owner.subuser_id,
        name=wish.name.strip(),
        given=None if given is None else frozenset(given),
        policy=wish.policy,
        imported=imported,
        created_ms=by.at_ms,
        revoked_ms=None,
        compromised=False,
        canary=wish.canary,
        maker_id=wish.maker_id,
    )
    _insert(tx, made, digest_of(text.reveal()))
    _leave_word(tx, made, "key.import" if imported else "key.create", ChangeKind.KEY_CREATED, by, _told(made))
    return made


def _name_fault(name: str) -> Declined | None:
    stripped = name.strip()
    if 1 <= len(stripped) <= NAME_MAX and stripped.isprintable():
        return None
    return Declined(Obstacle.KEY_MALFORMED, f"a key's name is 1 to {NAME_MAX} printable characters")


def _told(key: ApiKey) -> dict[str, audit.Detail]:
    """What a key may do, for the audit log."""
    told: dict[str, audit.Detail] = {
        "name": key.name,
        "scopes": "full access" if key.given is None else sorted(key.given),
        "policy": encode_policy(key.policy),
    }
    return {**told, "canary": True} if key.canary else told


def _columns(key: ApiKey) -> dict[str, object]:
    """What of a key can change, but for its revocation."""
    return {
        "name": key.name,
        "scopes": None if key.given is None else msgspec.json.encode(sorted(key.given)).decode(),
        "policy": encode_policy(key.policy),
        "held_ms": None if key.hold is None else key.hold.since_ms,
        "held_reason": None if key.hold is None else key.hold.reason.value,
        "held_text": None if key.hold is None else key.hold.text,
        "let_go_ms": key.let_go_ms,
    }


def _count(tx: Connection, owner: Account) -> int:
    # A parent and each of its subusers are counted by themselves, as the vendor does.
    mine = api_key.c.subuser_id.is_(None) if owner.subuser_id is None else api_key.c.subuser_id == owner.subuser_id
    query = select(func.count()).where(api_key.c.account_id == owner.account_id, mine, api_key.c.revoked_ms.is_(None))
    return tx.execute(query).scalar_one()


def _insert(tx: Connection, made: ApiKey, digest: bytes) -> None:
    fixed = {
        "id": made.id,
        "account_id": made.account_id,
        "subuser_id": made.subuser_id,
        "digest": digest,
        "imported": made.imported,
        "created_ms": made.created_ms,
        "revoked_ms": None,
        "compromised": False,
        "canary": made.canary,
        "maker_id": made.maker_id,
    }
    tx.execute(insert(api_key).values({**_columns(made), **fixed}))


def _leave_word(  # noqa: PLR0917
    tx: Connection, key: ApiKey, action: str, kind: ChangeKind, by: By, details: dict[str, audit.Detail]
) -> None:
    whose = key.account_id if key.subuser_id is None else key.subuser_id
    audit.record(tx, by=by, action=action, account_id=whose, subject=key.id, details=details)
    changes.record(tx, kind, key.account_id, key.id, at_ms=by.at_ms)


def _taken(key_id: KeyId, same: bool) -> str:
    if same:
        return f"key {key_id} is here already: see `key show {key_id}` (a revoked key is never taken back)"
    return f"another key here has the id {key_id}"
