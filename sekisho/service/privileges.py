"""Give up root for good: look a user up, become it, and make sure that there is no way back."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass


class PrivilegeProblem(Exception):  # a state of the world
    """The user cannot be found or become; the text says why."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who a process is to run as."""

    name: str
    uid: int
    gid: int


def find_owner(name: str) -> Owner:
    """Look a user up by name; raises PrivilegeProblem."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        message = f"there is no user {name!r} on this machine"
        raise PrivilegeProblem(message) from None
    return Owner(name, entry.pw_uid, entry.pw_gid)


def owner_of(status: os.stat_result) -> Owner:
    """Who owns a file or directory; users without a name are kept by number."""
    try:
        entry = pwd.getpwuid(status.st_uid)
    except KeyError:
        return Owner("", status.st_uid, status.st_gid)
    return Owner(entry.pw_name, status.st_uid, entry.pw_gid)


def become(owner: Owner) -> None:
    """Drop from root to ``owner``, with the groups of that user alone; does nothing when that is who we are.

    Raises PrivilegeProblem when the system says no, or when root could be regained.
    """
    if os.geteuid() == owner.uid and os.getuid() == owner.uid:
        return
    try:
        # Groups first: after setuid there is no right left to change them.
        os.setgroups(os.getgrouplist(owner.name, owner.gid) if owner.name else [owner.gid])
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, owner.uid)
    except OSError as error:
        message = f"cannot become user {owner.name or owner.uid}: {error.strerror}"
        raise PrivilegeProblem(message) from None
    if owner.uid != 0 and _can_regain():
        message = f"user {owner.name or owner.uid} could become root again"
        raise PrivilegeProblem(message)


def _can_regain() -> bool:
    try:
        os.setresuid(0, 0, 0)
    except PermissionError:
        return 0 in os.getresuid()
    return True
