"""How much of the file system new mail leaves free, so that what is queued can still be settled.

Delivering makes room, but not at once: an outcome is first written to the log, with its event, and the log is copied
into the database. A spool that took mail to the last block could do neither, and would stay full for ever.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

RESERVE_MAX_BYTES: Final = 32 << 20
"""The log between two copies, the same again for growth of the database, and some for the store of events."""

_SHARE: Final = 8
"""On a small file system, an eighth of it."""


def reserve_bytes(total_bytes: int) -> int:
    """Say how much of a file system of this size is not for new mail."""
    return min(RESERVE_MAX_BYTES, total_bytes // _SHARE)


def headroom_bytes(directory: Path) -> int:
    """Look how much more there is than the reserve; negative = the reserve is being used.

    A file system that does not tell its size has no reserve: it refuses when it is full.
    """
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize - reserve_bytes(found.f_blocks * found.f_frsize)
