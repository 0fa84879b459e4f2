"""How accounts come to their owners: set up by a link, or opened by themselves with a first limit that is lifted."""

from sekisho.signup.actions import erase_tenant, invite, lift, on_probation, open_account, probation_of
from sekisho.signup.model import Probation, Sent, Terms, is_earned
from sekisho.signup.owners import owner_link, set_up

__all__ = [
    "Probation",
    "Sent",
    "Terms",
    "erase_tenant",
    "invite",
    "is_earned",
    "lift",
    "on_probation",
    "open_account",
    "owner_link",
    "probation_of",
    "set_up",
]
