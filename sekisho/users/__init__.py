"""People who log in."""

from sekisho.users.actions import add, remove_all_of
from sekisho.users.passwords import PASSWORD_MAX, PASSWORD_MIN, hash_password, password_fault
from sekisho.users.tables import user

__all__ = ["PASSWORD_MAX", "PASSWORD_MIN", "add", "hash_password", "password_fault", "remove_all_of", "user"]
