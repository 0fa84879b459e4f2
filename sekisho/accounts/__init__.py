"""The tenants: accounts and their subusers."""

from sekisho.accounts.actions import (
    create_account,
    create_subuser,
    disable,
    enable,
    mark_deleted,
    no_such_account,
    no_such_subuser,
)
from sekisho.accounts.model import Account, find_account, find_subuser, list_accounts, list_subusers, names

__all__ = [
    "Account",
    "create_account",
    "create_subuser",
    "disable",
    "enable",
    "find_account",
    "find_subuser",
    "list_accounts",
    "list_subusers",
    "mark_deleted",
    "names",
    "no_such_account",
    "no_such_subuser",
]
