"""Nobody grants what he lacks: what may be given to a teammate. Facts in, a verdict out."""

from __future__ import annotations

from collections.abc import Collection

from sekisho.apikeys import scopes
from sekisho.apikeys.scopes import BILLING, effective
from sekisho.identity import Identity, KeyPolicy
from sekisho.refusal import Declined, Obstacle
from sekisho.teammates.model import MINIMUM, Rights


def checked_scopes(given: Collection[str], *, of_subuser: bool) -> frozenset[str] | Declined:
    """Read a list of scopes for a person: the first that cannot be given is named.

    Billing stands beside others here; that it must stand alone is a rule for keys.
    """
    for part in (frozenset(given) - BILLING, frozenset(given) & BILLING):
        if isinstance(found := scopes.check(sorted(part), of_subuser=of_subuser), Declined):
            return found
    return frozenset(given)


def all_of(rights: Rights, *, of_subuser: bool) -> frozenset[str]:
    """List what these rights open in the account itself."""
    if rights.is_admin:
        return effective(None, of_subuser=of_subuser)
    return MINIMUM if rights.restricted else rights.scopes | MINIMUM


def may_give(granter: Identity, rights: Rights, *, of_subuser: bool) -> Declined | None:
    """Judge whether somebody may make a teammate of these rights, or take one's rights for them.

    Who has limits besides scopes (a key's addresses, its end) gives nothing to people: they have no such limits.
    """
    if granter.policy != KeyPolicy():
        text = "a key with limits of its own gives no rights to people, who would not have these limits"
        return Declined(Obstacle.POLICY_UNASSIGNABLE, text)
    wanted = all_of(rights, of_subuser=of_subuser) - MINIMUM
    for grant in (rights.access or {}).values():
        wanted |= grant.opens
    lacking = sorted(wanted - granter.scopes)
    if not lacking:
        return None
    more = "" if len(lacking) == 1 else f" and {len(lacking) - 1} more"
    return Declined(Obstacle.SCOPE_UNASSIGNABLE, f"nobody gives what he lacks: {lacking[0]}{more}")


def fault(rights: Rights, *, of_subuser: bool) -> Declined | None:
    """Say what is wrong with rights in themselves."""
    if rights.is_admin and (rights.scopes or rights.restricted):
        return Declined(Obstacle.RIGHTS_MALFORMED, "an administrator has all scopes: name none")
    if rights.access is not None:
        if of_subuser:
            return Declined(Obstacle.RIGHTS_MALFORMED, "a subuser has no subusers")
        if rights.scopes - MINIMUM:
            text = "who is only for subusers has no scopes in the account itself: name none"
            return Declined(Obstacle.RIGHTS_MALFORMED, text)
        for grant in rights.access.values():
            if isinstance(found := checked_scopes(grant.scopes, of_subuser=True), Declined):
                return found
    if isinstance(found := checked_scopes(rights.scopes, of_subuser=of_subuser), Declined):
        return found
    return None
