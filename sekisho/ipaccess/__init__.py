"""IP Access Management: from which addresses an account, or a subuser, is used."""

from sekisho.ipaccess.actions import (
    add,
    clear,
    confirm,
    erase,
    remove,
    replace_provisionally,
    roll_back,
    roll_back_due,
)
from sekisho.ipaccess.networks import AllowList, admits
from sekisho.ipaccess.reading import Attempt, Rule, allow_list, find_rule, pending_until, recent_attempts, rules_of

__all__ = [
    "AllowList",
    "Attempt",
    "Rule",
    "add",
    "admits",
    "allow_list",
    "clear",
    "confirm",
    "erase",
    "find_rule",
    "pending_until",
    "recent_attempts",
    "remove",
    "replace_provisionally",
    "roll_back",
    "roll_back_due",
    "rules_of",
]
