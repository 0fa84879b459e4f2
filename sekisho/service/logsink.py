"""Where log lines go: written so that a reader who stopped reading stops nobody.

A pipe or a socket whose other end does not read takes some and then blocks whoever writes. So those are written without
waiting; what they do not take waits in a bounded buffer, and beyond that lines are dropped, whole, and counted.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

PENDING_MAX_BYTES: Final = 1 << 18
"""What waits for a reader that does not read."""

_Write = Callable[[bytes], int]


class Sink:
    """One descriptor; to be used from any thread. Files and terminals are written as ever, waiting for them."""

    def __init__(self, descriptor: int) -> None:
        """Look at what the descriptor is. Make it before giving up root: a pipe of root's is opened anew here."""
        self._lock: Final = threading.Lock()
        self._pending: deque[bytes] = deque()
        self._pending_bytes = 0
        self._dropped = 0
        self._pid = os.getpid()
        self._own: Final = contextlib.ExitStack()
        self._piece_bytes, self._write_some = _writer(descriptor, self._own)
        self.tell: Callable[[int], bytes] = lambda count: b"%d log lines were dropped\n" % count
        """Makes the line that says how many were dropped."""

    @property
    def is_behind(self) -> bool:
        """Something waits to be written, by ``write`` with whatever comes next or with nothing."""
        return bool(self._pending or self._dropped)

    def write(self, text: bytes) -> None:
        """Write whole lines, or keep them for later, or drop them."""
        with self._lock:
            self._forget_parent()
            for piece in _pieces(text, self._piece_bytes) if self._piece_bytes else (text,):
                if self._pending:
                    self._push()
                if self._dropped or self._pending_bytes + len(piece) > max(PENDING_MAX_BYTES, len(piece)):
                    self._dropped += piece.count(b"\n")
                    continue
                self._pending.append(piece)
                self._pending_bytes += len(piece)
            self._push()

    def finish(self, wait_s: float) -> None:
        """Before the process ends: write what waits, if somebody reads it within ``wait_s``."""
        end_s = time.monotonic() + wait_s
        while True:
            with self._lock:
                self._forget_parent()
                self._push()
            if not self.is_behind or time.monotonic() >= end_s:
                return
            time.sleep(0.01)

    def close(self) -> None:
        """Let go of what was opened anew; the descriptor itself stays."""
        self._own.close()

    def _forget_parent(self) -> None:
        """After a fork what waits is the parent's to write."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._pending.clear()
            self._pending_bytes = self._dropped = 0

    def _push(self) -> None:
        while self._take_pending():
            if not self._dropped:
                return
            line = self.tell(self._dropped)
            self._dropped = 0
            self._pending.append(line)
            self._pending_bytes += len(line)

    def _take_pending(self) -> bool:
        """Write until nothing is left (True) or nobody takes it."""
        while self._pending:
            piece = self._pending.popleft()
            try:
                taken = self._write_some(piece)
            except BlockingIOError:
                taken = 0
            except OSError:
                # Nobody will ever read it (a closed pipe, a full disk): no reason to stop mail.
                taken = len(piece)
                self._dropped = 0
            self._pending_bytes -= taken
            if taken < len(piece):
                self._pending.appendleft(piece[taken:])
                if taken == 0:
                    return False
        return True


def _pieces(text: bytes, limit: int) -> list[bytes]:
    """Whole lines, as many as a pipe takes as one; so lines of several processes do not mix."""
    pieces: list[bytes] = []
    begin = end = 0
    while end < len(text):
        after = text.find(b"\n", end) + 1 or len(text)
        if after - begin > limit and end > begin:
            pieces.append(text[begin:end])
            begin = end
        end = after
    if begin < len(text):
        pieces.append(text[begin:])
    return pieces


def _writer(descriptor: int, own: contextlib.ExitStack) -> tuple[int, _Write]:
    """How much goes out at once (0 = any), and how without waiting."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return 0, lambda piece: os.write(descriptor, piece)
    if stat.S_ISFIFO(mode):
        with contextlib.suppress(OSError):
            # A description of our own: the mode of the one that others share stays as it is.
            opened = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            own.callback(os.close, opened)
            return select.PIPE_BUF, lambda piece: os.write(opened, piece)
        return select.PIPE_BUF, lambda piece: _write_if_ready(descriptor, piece)
    if stat.S_ISSOCK(mode):
        opened_socket = own.enter_context(socket.socket(fileno=os.dup(descriptor)))
        return select.PIPE_BUF, lambda piece: opened_socket.send(piece, socket.MSG_DONTWAIT)
    return 0, lambda piece: os.write(descriptor, piece)


def _write_if_ready(descriptor: int, piece: bytes) -> int:
    """Write what a pipe that says it has room takes without waiting."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(descriptor, piece[: select.PIPE_BUF])
