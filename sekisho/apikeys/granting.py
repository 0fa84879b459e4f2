"""Nobody grants what he lacks: what a key may give to another one, or to itself. Facts in, a verdict out."""

from __future__ import annotations

from collections.abc import Collection

from sekisho.apikeys import scopes
from sekisho.apikeys.model import ApiKey
from sekisho.identity import Identity, IPNetwork, KeyPolicy, Rate
from sekisho.refusal import Declined, Obstacle


def all_of(granter: Identity, *, of_subuser: bool) -> frozenset[str] | None:
    """Say what "full access" is when ``granter`` gives it: all that it may give, billing aside. None: all there is."""
    everything = scopes.effective(None, of_subuser=of_subuser)
    mine = granter.scopes & everything
    return None if mine == everything else mine


def may_give_scopes(granter: Identity, wanted: Collection[str]) -> Declined | None:
    """Judge a list of scopes, each known to exist."""
    lacking = sorted(frozenset(wanted) - granter.scopes)
    if not lacking:
        return None
    more = "" if len(lacking) == 1 else f" and {len(lacking) - 1} more"
    return Declined(Obstacle.SCOPE_UNASSIGNABLE, f"this key cannot give what it lacks: {lacking[0]}{more}")


def may_give_policy(granter: KeyPolicy, wanted: KeyPolicy, *, makes_new: bool) -> Declined | None:
    """Judge a policy: it must be within the granter's own, limit by limit.

    A granter whose sending is counted (rate, daily) makes no keys at all: each would be counted by itself, and a
    hundred of them would send a hundred times as much.
    """
    if makes_new and (granter.rate is not None or granter.daily is not None):
        return _no("a key with a rate or a daily limit cannot make keys, whose sending would be counted by itself")
    if granter.ips and not _within(wanted.ips, granter.ips):
        return _no("ips must be within this key's own")
    if granter.from_domains and not _subset(wanted.from_domains, granter.from_domains):
        return _no("from_domains must be among this key's own")
    if granter.from_addresses and not _subset(wanted.from_addresses, granter.from_addresses):
        return _no("from_addresses must be among this key's own")
    if granter.rate is not None and not _no_faster(wanted.rate, granter.rate):
        return _no("rate must not be over this key's own")
    if not _no_more(wanted.daily, granter.daily):
        return _no("daily must not be over this key's own")
    if not _no_more(wanted.max_recipients, granter.max_recipients):
        return _no("max_recipients must not be over this key's own")
    if not _no_more(wanted.expires_ms, granter.expires_ms):
        return _no("expires_at must not be after this key's own")
    return None


def may_touch(granter: Identity, key: ApiKey) -> bool:
    """Judge whether a key may rename, change, hold or set free another: only one that it could have made as it is.

    To end one is another matter: that only takes away.
    """
    within = may_give_policy(granter.policy, key.policy, makes_new=False) is None
    return within and key.scopes <= granter.scopes


def _no(text: str) -> Declined:
    return Declined(Obstacle.POLICY_UNASSIGNABLE, text)


def _within(wanted: Collection[IPNetwork], own: Collection[IPNetwork]) -> bool:
    return bool(wanted) and all(
        any(one.version == mine.version and one.subnet_of(mine) for mine in own)  # type: ignore[arg-type]
        for one in wanted
    )


def _subset(wanted: frozenset[str], own: frozenset[str]) -> bool:
    return bool(wanted) and wanted <= own


def _no_more(wanted: int | None, own: int | None) -> bool:
    return own is None or (wanted is not None and wanted <= own)


def _no_faster(wanted: Rate | None, own: Rate) -> bool:
    # Neither more at once nor more in the long run.
    if wanted is None or wanted.count > own.count:
        return False
    return wanted.count * own.window_s <= own.count * wanted.window_s
