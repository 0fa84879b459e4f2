"""The end of a subuser: everything that is its own goes with it, in one transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from sekisho import ipaccess, notices, users
from sekisho.accounts import Account, mark_deleted
from sekisho.apikeys import used
from sekisho.apikeys.actions import revoke_all_of
from sekisho.audit import By
from sekisho.domains import Relay
from sekisho.domains.actions import remove_all_of


def delete_subuser(tx: Connection, subuser: Account, *, relay: Relay, by: By) -> None:
    """Delete for good: keys end, own domains are free for others, assigned ones go back, queued mail is dropped."""
    revoke_all_of(tx, subuser, by=by)
    remove_all_of(tx, subuser, relay=relay, by=by)
    users.remove_all_of(tx, subuser)
    ipaccess.erase(tx, subuser.id)
    used.erase(tx, subuser.id)
    notices.erase(tx, subuser.id)
    mark_deleted(tx, subuser, by=by)
