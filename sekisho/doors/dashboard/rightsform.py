"""What the form about a person's rights says, read into what ``teammates`` takes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from sekisho import accounts
from sekisho.accounts import Account
from sekisho.apikeys import scopes
from sekisho.doors.dashboard import keyform
from sekisho.doors.dashboard.forms import Form
from sekisho.ids import AccountId
from sekisho.refusal import Declined, Obstacle
from sekisho.teammates import Grant, Permission, Rights
from sekisho.teammates.model import MINIMUM

ADMIN: Final = "admin"
CHOSEN: Final = "chosen"
SUBUSERS: Final = "subusers"

_NAMES_MAX: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class RightsForm:
    """The fields as they were typed: shown again when something is wrong with them."""

    access: str = CHOSEN
    """ADMIN, CHOSEN (what stands in ``scopes``), or SUBUSERS."""
    scopes: frozenset[str] = frozenset()
    names: str = ""
    """Of subusers, when somebody is invited for these only."""
    there: str = CHOSEN
    """ADMIN or CHOSEN: what for these."""


def read(form: Form) -> RightsForm:
    """Take the fields as they were sent."""
    return RightsForm(
        access=form.text("access", 20),
        scopes=frozenset(form.all("scope")) & scopes.FULL_ACCESS,
        names=form.text("names", _NAMES_MAX),
        there=form.text("there", 20),
    )


def of_rights(rights: Rights) -> RightsForm:
    """Fill the form with what somebody may do."""
    if rights.is_admin:
        return RightsForm(ADMIN)
    return RightsForm(SUBUSERS if rights.restricted else CHOSEN, rights.scopes)


def of_grant(grant: Grant | None) -> RightsForm:
    """Fill the form with what somebody may do for one subuser."""
    if grant is None:
        return RightsForm("none")
    return RightsForm(ADMIN if grant.permission is Permission.ADMIN else CHOSEN, grant.scopes)


def invited(tx: Connection, tenant: Account, typed: RightsForm) -> Rights | Declined:
    """Say what an invitation is to give."""
    if typed.access != SUBUSERS:
        return changed(typed, {})
    wanted = {name.lower() for name in typed.names.replace(",", " ").split()}
    found = [one for one in accounts.list_subusers(tx, tenant.id) if one.name.lower() in wanted]
    if not found or len(found) < len(wanted):
        return Declined(Obstacle.SUBUSER_UNKNOWN, f"{tenant.name} has no such subuser")
    given = granted(typed.there, typed.scopes)
    return Rights(access={one.id: given for one in found})


def changed(typed: RightsForm, access: Mapping[AccountId, Grant]) -> Rights | Declined:
    """Say what a teammate is to have; ``access``: what he has for subusers, which is changed one by one."""
    match typed.access:
        case "admin":
            return Rights(is_admin=True)
        case "chosen":
            return Rights(scopes=typed.scopes)
        case "subusers":
            return Rights(access=access)
    return Declined(Obstacle.RIGHTS_MALFORMED, f"there is no access {typed.access!r}")


def granted(permission: str, chosen: frozenset[str]) -> Grant:
    """Say what is to be given for a subuser."""
    return Grant(Permission.ADMIN) if permission == ADMIN else Grant(Permission.RESTRICTED, chosen)


def offered(may_give: Collection[str], ticked: Collection[str]) -> list[keyform.Group]:
    """List the scopes that somebody may give; not those that every teammate has."""
    return keyform.offered(frozenset(may_give) - MINIMUM, ticked)
