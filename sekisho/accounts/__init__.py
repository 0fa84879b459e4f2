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
from sekisho.accounts.model import (
    Account,
    Stopped,
    find_account,
    find_subuser,
    is_stopped,
    list_accounts,
    list_subusers,
    names,
    stopped_senders,
)

__all__ = [
    "Account",
    "Stopped",
    "create_account",
    "create_subuser",
    "disable",
    "enable",
    "find_account",
    "find_subuser",
    "is_stopped",
    "list_accounts",
    "list_subusers",
    "mark_deleted",
    "names",
    "no_such_account",
    "no_such_subuser",
    "stopped_senders",
]
