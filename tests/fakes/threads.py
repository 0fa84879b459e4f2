"""An executor whose jobs run, and end, when the test says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any


class HeldThreads(Executor):
    """``run()`` does the oldest waiting job's work; ``finish()`` lets its result be seen. In between, races happen."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._done: deque[tuple[Future[Any], Any, BaseException | None]] = deque()
        self.submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting.append((future, lambda: fn(*args, **kwargs)))
        self.submitted += 1
        return future

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def run(self) -> None:
        future, work = self._waiting.popleft()
        try:
            self._done.append((future, work(), None))
        except Exception as error:  # noqa: BLE001  # it belongs to whoever waits for the result
            self._done.append((future, None, error))

    def finish(self) -> None:
        future, result, error = self._done.popleft()
        if not future.set_running_or_notify_cancel():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class NoThreads(Executor):
    """Runs each job at once, where it is submitted."""

    def __init__(self) -> None:
        self.submitted = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.submitted += 1
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  # it belongs to whoever waits for the result
            future.set_exception(error)
        return future
