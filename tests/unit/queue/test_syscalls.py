from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from sekisho.queue import syscalls


def test_a_held_lock_is_told_as_python_does(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    one, other = (os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(2))
    try:
        syscalls.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            syscalls.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        syscalls.flock(one, fcntl.LOCK_UN)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(one)
        os.close(other)


def test_another_error_is_told(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    os.close(descriptor)

    with pytest.raises(OSError, match="Bad file descriptor"):
        syscalls.flock(descriptor, fcntl.LOCK_UN)


def test_whether_something_is_there(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "mark")

    assert not syscalls.exists(path)
    (tmp_path / "mark").touch()
    assert syscalls.exists(path)
