"""Leaked keys: who presents the text of a key has it, and that is proof enough to hold it."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from sqlalchemy import Connection, select

from sekisho import notices
from sekisho.apikeys.actions import hold
from sekisho.apikeys.model import ApiKey, HoldReason, digest_of, key_id_of
from sekisho.apikeys.tables import api_key, key_from_row
from sekisho.audit import By
from sekisho.notices import Kind

_NOBODYS_DIGEST = bytes(32)

WHAT_NOW = "Make a new key, revoke this one, and release it only if you are sure that nobody else has it."


def keys_in_force(tx: Connection, texts: Sequence[bytes]) -> tuple[ApiKey, ...]:
    """Find the keys that have these texts, and were not revoked; held ones and those of disabled accounts too."""
    found = (_find(tx, text) for text in texts)
    return tuple(key for key in found if key is not None and key.revoked_ms is None)


def freeze(tx: Connection, key: ApiKey, where: str, *, by: By) -> None:
    """Hold a key whose text was seen ``where`` it should not be, and tell its owner; again only tells."""
    hold(tx, key, HoldReason.LEAK, f"its text was seen {where}", by=by)
    owner_id = key.account_id if key.subuser_id is None else key.subuser_id
    what = f'API key {key.id} ("{key.name}") is held: its text was seen {where}, so somebody else may have it.'
    effect = "It opens nothing, and mail that it has queued waits."
    notices.tell(tx, owner_id, Kind.KEY_HELD, key.id, f"{what} {effect} {WHAT_NOW}", at_ms=by.at_ms)


def freeze_reported(tx: Connection, texts: Sequence[bytes], *, by: By) -> int:
    """Hold the keys that somebody reported; how many of the texts were any."""
    found = keys_in_force(tx, texts)
    for key in found:
        freeze(tx, key, f"by whoever reported it from {by.address}", by=by)
    return len(found)


def _find(tx: Connection, text: bytes) -> ApiKey | None:
    key_id = key_id_of(text)
    row = tx.execute(select(api_key).where(api_key.c.id == (key_id or ""))).one_or_none()
    # The same comparison whether there is such an id or not.
    same = hmac.compare_digest(_NOBODYS_DIGEST if row is None else row.digest, digest_of(text))
    return key_from_row(row) if same and row is not None else None
