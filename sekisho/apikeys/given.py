"""Keys made and changed by somebody who has only so much to give: the judgement of ``granting``, then the act.

A key may do it through the API, a person in the dashboard; both give no more than they have.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection

from sekisho.accounts import Account
from sekisho.apikeys import actions, granting, scopes
from sekisho.apikeys.actions import Change, Issued, Wish
from sekisho.apikeys.model import ApiKey
from sekisho.audit import By
from sekisho.identity import Identity
from sekisho.refusal import Declined, Obstacle


def issue(tx: Connection, granter: Identity, owner: Account, wish: Wish, *, by: By) -> Issued | Declined:
    """Make a key; without ``wish.scopes`` it gets all that the granter may give."""
    of_subuser = owner.subuser_id is not None
    wanted = granting.all_of(granter, of_subuser=of_subuser) if wish.scopes is None else wish.scopes
    if wanted is not None:
        given = scopes.check(wanted, of_subuser=of_subuser)
        if isinstance(given, Declined):
            return given
        if (lacking := granting.may_give_scopes(granter, given)) is not None:
            return lacking
    if (looser := granting.may_give_policy(granter.policy, wish.policy, makes_new=True)) is not None:
        return looser
    return actions.issue(tx, owner, replace(wish, scopes=wanted), by=by)


def change(tx: Connection, granter: Identity, key: ApiKey, wish: Change, *, by: By) -> ApiKey | Declined:
    """Rename, re-scope or limit a key; one that may do more than the granter is out of its reach."""
    if not granting.may_touch(granter, key):
        return out_of_reach()
    if wish.scopes is not None:
        given = scopes.check(wish.scopes, of_subuser=key.subuser_id is not None)
        refusal = given if isinstance(given, Declined) else granting.may_give_scopes(granter, given)
        if refusal is not None:
            return refusal
    if wish.policy is not None:
        looser = granting.may_give_policy(granter.policy, wish.policy, makes_new=False)
        if looser is not None:
            return looser
    return actions.change(tx, key, wish, by=by)


def out_of_reach() -> Declined:
    """Decline to touch a key that may do more than who asks."""
    return Declined(Obstacle.KEY_OUT_OF_REACH, "this key may do more than you")
