"""System calls that answer at once, made without giving the interpreter lock up.

Python lets other threads run around every system call. For one that takes a microsecond that is a bad bargain on the
writer's path: beside a busy loop it waits for the lock much longer than for the kernel. Only for calls that never
wait: ``LOCK_NB`` and look-ups of names that are in the kernel's cache.
"""

from __future__ import annotations

import ctypes
import os
from typing import Final

_libc: Final = ctypes.PyDLL(None, use_errno=True)
_flock: Final = _libc.flock
_flock.argtypes = (ctypes.c_int, ctypes.c_int)
_access: Final = _libc.access
_access.argtypes = (ctypes.c_char_p, ctypes.c_int)


def flock(descriptor: int, operation: int) -> None:
    """Take or free a lock; ``operation`` has LOCK_NB, or is LOCK_UN.

    Raises OSError; BlockingIOError when another description holds it.
    """
    if _flock(descriptor, operation) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def exists(path: bytes) -> bool:
    """Whether there is something by that name."""
    found: int = _access(path, os.F_OK)
    return found == 0
