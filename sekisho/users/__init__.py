"""People who log in."""

from sekisho.users.actions import add, remove_all_of
from sekisho.users.model import (
    Profile,
    Role,
    User,
    all_users,
    by_login_email,
    by_username,
    count_users,
    find_user,
    fold_email,
    fold_name,
    owner_of,
    user_by_id,
    users_of,
)
from sekisho.users.passwords import PASSWORD_MAX, PASSWORD_MIN, hash_password, password_fault
from sekisho.users.tables import user

__all__ = [
    "PASSWORD_MAX",
    "PASSWORD_MIN",
    "Profile",
    "Role",
    "User",
    "add",
    "all_users",
    "by_login_email",
    "by_username",
    "count_users",
    "find_user",
    "fold_email",
    "fold_name",
    "hash_password",
    "owner_of",
    "password_fault",
    "remove_all_of",
    "user",
    "user_by_id",
    "users_of",
]
