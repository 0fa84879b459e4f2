"""The only writers of accounts on probation, and the opening of an account as one change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, delete, insert, select, update

from sekisho import accounts, audit, letters, links, users
from sekisho.accounts import Account
from sekisho.audit import By
from sekisho.credits import Credits, Reset
from sekisho.ids import AccountId
from sekisho.letters.model import INVITATION_MS
from sekisho.links import Purpose
from sekisho.refusal import Declined, Obstacle
from sekisho.signup.model import Probation, Terms
from sekisho.signup.tables import probation
from sekisho.users import Role, User
from sekisho.wire.mail.address import parse_path

_GONE: Final = Declined(Obstacle.LINK_SPENT, "this link is not good any more")


@dataclass(frozen=True, slots=True)
class Opened:
    """A new account and its owner."""

    account: Account
    owner: User


def open_account(
    tx: Connection, token: str, *, name: str, password: str, terms: Terms, language: str, by: By
) -> Opened | Declined:
    """Open an account for whoever holds a sign-up link; the link is used up only if all of it is done.

    ``password`` is what ``users.hash_password`` made.
    """
    link = links.use(tx, Purpose.SIGNUP, token, at_ms=by.at_ms)
    if link is None or link.email is None:
        return _GONE
    made = accounts.create_account(tx, name=name, owner_email=link.email, by=by)
    if isinstance(made, Declined):
        return made
    owner = users.add(
        tx,
        made,
        username=made.name,
        email=link.email,
        password=password,
        proved=True,
        role=Role.OWNER,
        language=language,
        by=by,
    )
    if isinstance(owner, Declined):
        return owner
    first = Credits(made.id, terms.daily_credits, Reset.DAILY, by.at_ms)
    tx.execute(insert(probation).values(account_id=made.id, since_ms=by.at_ms))
    return Opened(accounts.grant_credits(tx, made, first, by=by), owner)


def invite(tx: Connection, email: str, *, by_letter: bool, by: By) -> str | Declined | None:
    """Invite somebody to open an account: a letter goes there (None), or the link's path is given to be handed over."""
    address = parse_path(email)
    if address is None or address.domain.startswith("["):
        return Declined(Obstacle.EMAIL_MALFORMED, f"{email!r} is not an e-mail address")
    audit.record(tx, by=by, action="signup.invite", account_id=None, subject=str(address))
    if by_letter:
        letters.ask(tx, letters.Kind.SIGNUP_INVITED, str(address), at_ms=by.at_ms, language="en")
        return None
    token = links.make(tx, Purpose.SIGNUP, at_ms=by.at_ms, email=str(address), lifetime_ms=INVITATION_MS)
    return f"/signup/{token.reveal()}"


def on_probation(tx: Connection) -> tuple[Probation, ...]:
    """List the accounts whose first limit stands; disabled ones earn nothing."""
    query = select(probation).where(probation.c.lifted_ms.is_(None)).order_by(probation.c.account_id)
    found = (Probation(AccountId(row.account_id), row.since_ms) for row in tx.execute(query).all())
    return tuple(one for one in found if not accounts.is_stopped(tx, one.account_id, None))


def probation_of(tx: Connection, account_id: AccountId) -> Probation | None:
    """Read whether an account's first limit stands."""
    query = select(probation).where(probation.c.account_id == account_id, probation.c.lifted_ms.is_(None))
    row = tx.execute(query).one_or_none()
    return None if row is None else Probation(account_id, row.since_ms)


def lift(tx: Connection, one: Probation, *, by: By) -> bool:
    """Lift the first limit of an account and tell its owner; whether it stood until now."""
    still = (probation.c.account_id == one.account_id) & probation.c.lifted_ms.is_(None)
    if not tx.execute(update(probation).where(still).values(lifted_ms=by.at_ms)).rowcount:
        return False
    account = accounts.account_by_id(tx, one.account_id)
    if account is None:
        return False
    if account.credits is not None and account.credits.granted_ms == one.since_ms:
        # Another grant is the operator's own, and stays.
        account = accounts.grant_credits(tx, account, None, by=by)
    audit.record(tx, by=by, action="account.limits_lifted", account_id=account.id, subject=account.name)
    owner = users.owner_of(tx, account.id)
    if owner is not None:
        letters.ask(
            tx,
            letters.Kind.LIMITS_LIFTED,
            owner.email,
            at_ms=by.at_ms,
            language=owner.language or "en",
            account_id=account.id,
            about={"account": account.name},
        )
    return True


def erase_tenant(tx: Connection, tenant_id: AccountId) -> None:
    """Forget the probation of a tenant that goes."""
    tx.execute(delete(probation).where(probation.c.account_id == tenant_id))
