"""The end of a subuser: everything that is its own goes with it, in one transaction."""

from __future__ import annotations

from sqlalchemy import Connection

from sekisho import ipaccess, letters, links, notices, sessions, teammates
from sekisho.accounts import Account, mark_deleted
from sekisho.apikeys import used
from sekisho.apikeys.actions import revoke_all_of
from sekisho.audit import By
from sekisho.domains import Relay
from sekisho.domains.actions import remove_all_of
from sekisho.policy import people
from sekisho.users import users_of


def delete_subuser(tx: Connection, subuser: Account, *, relay: Relay, by: By) -> None:
    """Delete for good: keys end, own domains are free for others, assigned ones go back, queued mail is dropped."""
    revoke_all_of(tx, subuser, by=by)
    remove_all_of(tx, subuser, relay=relay, by=by)
    _remove_people(tx, subuser, by=by)
    ipaccess.erase(tx, subuser.id)
    used.erase(tx, subuser.id)
    notices.erase(tx, subuser.id)
    mark_deleted(tx, subuser, by=by)


def _remove_people(tx: Connection, subuser: Account, *, by: By) -> None:
    """Log everybody out, and let nobody in any more: its own people, who are invited, and who acts for it."""
    sessions.end_acting_for(tx, subuser.id)
    teammates.erase(tx, subuser, at_ms=by.at_ms)
    for person in users_of(tx, subuser.id):
        people.remove(tx, person, by=by)
    links.erase_tenant(tx, subuser.id)
    letters.erase_tenant(tx, subuser.id)
