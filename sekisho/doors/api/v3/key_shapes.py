"""API keys as requests and answers have them, and finding the one that a request names."""

from __future__ import annotations

import datetime as dt

import msgspec
from sqlalchemy import Connection

from sekisho.apikeys.model import ApiKey
from sekisho.apikeys.policy_text import PolicyFlaw, rate_text, read_policy
from sekisho.apikeys.tables import Owner, find_own_key
from sekisho.apikeys.used import LastUse
from sekisho.doors.api.caller import Caller
from sekisho.doors.api.problems import invalid, plain
from sekisho.identity import KeyPolicy


class PolicyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits of a key beyond its scopes; what is left out or null is no limit. An unknown one is refused."""

    ips: list[str] | None = None
    """Addresses or networks that it is used from."""
    from_domains: list[str] | None = None
    """Domains that From may be in."""
    from_addresses: list[str] | None = None
    """Addresses that From may be."""
    rate: str | None = None
    """Recipients per time: ``10/s`` or ``600/m``."""
    daily: int | None = None
    """Recipients per UTC day."""
    max_recipients: int | None = None
    """Recipients per message."""
    expires_at: int | str | None = None
    """Epoch seconds, RFC 3339, or from now on: ``30d``."""


class PolicyShown(msgspec.Struct, frozen=True):
    """The limits of a key; null or empty: none."""

    ips: list[str]
    from_domains: list[str]
    from_addresses: list[str]
    rate: str | None
    daily: int | None
    max_recipients: int | None
    expires_at: int | None
    """Epoch seconds."""


class KeyListed(msgspec.Struct, frozen=True):
    """A key in a list. Times are epoch seconds; null: never."""

    api_key_id: str
    name: str
    state: str
    """``active``, ``held``, ``expired``, or ``canary``."""
    created_at: int
    last_used_at: int | None
    last_used_ip: str | None


class KeyShown(KeyListed, frozen=True, kw_only=True):
    """A key with what it may do; never its text."""

    scopes: list[str]
    policy: PolicyShown
    held_reason: str | None
    """Why it opens nothing until it is released; null when it does."""


def owner_of(caller: Caller) -> Owner:
    """Whose keys a request is about."""
    return Owner(caller.account_id, caller.subuser_id)


def find_in_force(tx: Connection, caller: Caller, key_id: str) -> ApiKey:
    """Find a key in force; a revoked one, one that never was, and somebody else's are equally not found."""
    found = find_own_key(tx, owner_of(caller), key_id)
    if found is None or found.revoked_ms is not None:
        raise plain(404)
    return found


def policy_of(body: PolicyBody | None, caller: Caller) -> KeyPolicy:
    """Read limits; raises Problem."""
    if body is None:
        return KeyPolicy()
    expires = body.expires_at
    found = read_policy(
        ips=body.ips or (),
        from_domains=body.from_domains or (),
        from_addresses=body.from_addresses or (),
        rate=body.rate,
        daily=body.daily,
        max_recipients=body.max_recipients,
        expires=_rfc3339(expires) if isinstance(expires, int) else expires,
        now_ms=caller.now_ms,
    )
    if isinstance(found, PolicyFlaw):
        raise invalid(f"{found.field} {found.text}", f"policy.{found.field}")
    return found


def _rfc3339(epoch_s: int) -> str:
    try:
        return dt.datetime.fromtimestamp(epoch_s, dt.UTC).isoformat()
    except (OverflowError, ValueError, OSError):
        raise invalid("expires_at is not a time", "policy.expires_at") from None


def show_in_list(key: ApiKey, used: LastUse | None, now_ms: int) -> KeyListed:
    """Show a key as lists do."""
    return KeyListed(
        api_key_id=key.id,
        name=key.name,
        state=key.state(now_ms),
        created_at=key.created_ms // 1000,
        last_used_at=None if used is None else used.at_ms // 1000,
        last_used_ip=None if used is None else used.address,
    )


def show_key(key: ApiKey, used: LastUse | None, now_ms: int) -> KeyShown:
    """Show a key with all that it may do."""
    policy = key.policy
    return KeyShown(
        **msgspec.structs.asdict(show_in_list(key, used, now_ms)),
        scopes=sorted(key.scopes),
        policy=PolicyShown(
            ips=[str(network) for network in policy.ips],
            from_domains=sorted(policy.from_domains),
            from_addresses=sorted(policy.from_addresses),
            rate=None if policy.rate is None else rate_text(policy.rate),
            daily=policy.daily,
            max_recipients=policy.max_recipients,
            expires_at=None if policy.expires_ms is None else policy.expires_ms // 1000,
        ),
        held_reason=None if key.hold is None else key.hold.text,
    )
