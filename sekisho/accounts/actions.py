"""The only writers of accounts and subusers.

Each function is one change: checks, rows, audit row, feed row, all in the caller's transaction.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from sqlalchemy import Connection, insert, update

from sekisho import audit, changes
from sekisho.accounts.model import (
    Account,
    account,
    count_subusers,
    encode_credits,
    find_account,
    fold,
    name_taken,
)
from sekisho.audit import By
from sekisho.audit.chain import ERASURE
from sekisho.changes import ChangeKind
from sekisho.credits import Credits
from sekisho.ids import AccountId
from sekisho.refusal import Declined, Obstacle
from sekisho.wire.mail.address import parse_path

# E-mail addresses are common user names at the vendor. Never "-" in front: names stand on command lines.
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")


SUBUSERS_MAX: Final = 10_000
"""Of one account; the vendor's larger plans have thousands."""


def create_account(tx: Connection, *, name: str, owner_email: str, by: By) -> Account | Declined:
    owner = parse_path(owner_email)
    if owner is None or owner.domain.startswith("["):
        return Declined(Obstacle.ACCOUNT_MALFORMED, f"{owner_email!r} is not an e-mail address")
    if (declined := _name_fault(tx, name)) is not None:
        return declined
    made = _insert(tx, None, name, str(owner), by.at_ms)
    _leave_word(tx, made, "account.create", by, {"owner": str(owner)})
    return made


def create_subuser(tx: Connection, *, of: str, name: str, email: str | None = None, by: By) -> Account | Declined:
    """Make a subuser of the account called ``of``."""
    parent = find_account(tx, of)
    if parent is None:
        return no_such_account(of)
    address = None if email is None else parse_path(email)
    if email is not None and (address is None or address.domain.startswith("[")):
        return Declined(Obstacle.EMAIL_MALFORMED, f"{email!r} is not an e-mail address")
    if (declined := _name_fault(tx, name)) is not None:
        return declined
    if count_subusers(tx, parent.id) >= SUBUSERS_MAX:
        return Declined(Obstacle.SUBUSERS_TOO_MANY, f"an account has at most {SUBUSERS_MAX} subusers")
    made = _insert(tx, parent.id, name, None if address is None else str(address), by.at_ms)
    _leave_word(tx, made, "subuser.create", by, {"account": parent.name, "email": made.owner_email})
    return made


def change_contact(tx: Connection, tenant: Account, email: str, *, by: By) -> Account:
    """Write to another address from now on; the caller knows that it is an address, and its owner's."""
    if email == tenant.owner_email:
        return tenant
    tx.execute(update(account).where(account.c.id == tenant.id).values(owner_email=email))
    details: dict[str, audit.Detail] = {"before": tenant.owner_email, "after": email}
    _leave_word(tx, tenant, f"{_kind(tenant)}.contact", by, details)
    return replace(tenant, owner_email=email)


def switch_website(tx: Connection, subuser: Account, *, disabled: bool, by: By) -> Account:
    """Let a subuser's people log in, or not; sending goes on. Again is a no-op with the same answer."""
    if disabled == (subuser.website_disabled_ms is not None):
        return subuser
    at_ms = by.at_ms if disabled else None
    tx.execute(update(account).where(account.c.id == subuser.id).values(website_disabled_ms=at_ms))
    _leave_word(tx, subuser, "subuser.website_access", by, {"disabled": disabled})
    return replace(subuser, website_disabled_ms=at_ms)


def grant_credits(tx: Connection, tenant: Account, granted: Credits | None, *, by: By) -> Account:
    """Set what a subuser, or an account and its subusers together, may send; None: without limit."""
    tx.execute(update(account).where(account.c.id == tenant.id).values(credits=encode_credits(granted)))
    details: dict[str, audit.Detail] = {
        "before": encode_credits(tenant.credits) or "unlimited",
        "after": encode_credits(granted) or "unlimited",
    }
    _leave_word(tx, tenant, f"{_kind(tenant)}.credits", by, details)
    return replace(tenant, credits=granted)


def mark_erased(tx: Connection, subuser_id: AccountId, *, at_ms: int) -> None:
    """Note that nothing is left of a deleted subuser; only tells ``unerased`` apart."""
    tx.execute(update(account).where(account.c.id == subuser_id).values(erased_ms=at_ms))


def disable(tx: Connection, tenant: Account, *, by: By) -> Account:
    """Stop it: no login, queued mail held, an account's subusers too. Again is a no-op with the same answer."""
    return tenant if tenant.disabled_ms is not None else _switch(tx, tenant, by.at_ms, "disable", by)


def enable(tx: Connection, tenant: Account, *, by: By) -> Account:
    """Let it send again, held mail included. Again is a no-op with the same answer."""
    return tenant if tenant.disabled_ms is None else _switch(tx, tenant, None, "enable", by)


def mark_deleted(tx: Connection, subuser: Account, *, by: By) -> None:
    """Write the account part of deleting a subuser; ``policy.closing`` does the whole."""
    if subuser.parent_id is None:
        message = "only subusers are deleted"
        raise ValueError(message)
    # Its e-mail address goes at once; the name stays for history's sake, unless it is an address itself.
    name = f"deleted-{subuser.id}" if "@" in subuser.name else subuser.name
    gone = {"deleted_ms": by.at_ms, "owner_email": None, "name": name, "folded_name": fold(name)}
    tx.execute(update(account).where(account.c.id == subuser.id).values(gone))
    audit.erase(tx, subuser.id)
    _leave_word(tx, replace(subuser, name=name), ERASURE, by)
    # Nobody but the operator reads a log of its any more.
    details: dict[str, audit.Detail] = {"subuser": subuser.id}
    audit.record(
        tx, by=by, action="account.subuser_delete", account_id=subuser.parent_id, subject=name, details=details
    )


def no_such_account(name: str) -> Declined:
    return Declined(Obstacle.ACCOUNT_UNKNOWN, f"there is no account {name!r}")


def no_such_subuser(name: str) -> Declined:
    return Declined(Obstacle.SUBUSER_UNKNOWN, f"there is no subuser {name!r}")


def _name_fault(tx: Connection, name: str) -> Declined | None:
    if not _NAME.fullmatch(name):
        rule = "1 to 64 of A-Z a-z 0-9 . _ @ + - and a letter or digit first"
        return Declined(Obstacle.ACCOUNT_MALFORMED, f"{name!r} cannot be a name: {rule}")
    if name_taken(tx, name):
        return Declined(Obstacle.ACCOUNT_TAKEN, f"the name {name!r} is taken")
    return None


def _insert(tx: Connection, parent_id: AccountId | None, name: str, owner_email: str | None, now_ms: int) -> Account:
    values = insert(account).values(
        parent_id=parent_id, name=name, folded_name=fold(name), owner_email=owner_email, created_ms=now_ms
    )
    number = tx.execute(values.returning(account.c.id)).scalar_one()
    return Account(AccountId(number), parent_id, name, owner_email, now_ms, None)


def _switch(tx: Connection, tenant: Account, disabled_ms: int | None, verb: str, by: By) -> Account:
    tx.execute(update(account).where(account.c.id == tenant.id).values(disabled_ms=disabled_ms))
    _leave_word(tx, tenant, f"{_kind(tenant)}.{verb}", by)
    return replace(tenant, disabled_ms=disabled_ms)


def _kind(tenant: Account) -> str:
    return "account" if tenant.parent_id is None else "subuser"


def _leave_word(
    tx: Connection,
    tenant: Account,
    action: str,
    by: By,
    details: dict[str, audit.Detail] | None = None,
) -> None:
    audit.record(tx, by=by, action=action, account_id=tenant.id, subject=tenant.name, details=details)
    changes.record(tx, ChangeKind.ACCOUNT_CHANGED, tenant.account_id, str(tenant.id), at_ms=by.at_ms)
