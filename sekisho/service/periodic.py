"""A short step done again and again in a thread of its own, for as long as the process lives."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from sekisho.db import DatabaseUnavailable

_log = structlog.get_logger(__name__)


class Periodic:
    """Background work of a worker; a step that fails is tried again at its next turn."""

    def __init__(
        self, name: str, step: Callable[[], object], *, every_s: float, last: Callable[[], object] | None = None
    ) -> None:
        """``last`` is done once at the end, after the last step."""
        self._name: Final = name
        self._step: Final = step
        self._every_s: Final = every_s
        self._last: Final = last
        self._failing = False
        self._stopping: Final = threading.Event()
        self._thread: Final = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin; called once, after the last fork. The first step is done at once."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the step under way and the last one."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._do(self._step)
            if self._stopping.wait(self._every_s):
                break
        if self._last is not None:
            self._do(self._last)

    def _do(self, step: Callable[[], object]) -> None:
        try:
            step()
            self._failing = False
        except Exception as error:  # noqa: BLE001  # this thread must outlive anything: the next turn may go well
            # Once, until it goes well again.
            if not self._failing:
                is_ours = not isinstance(error, DatabaseUnavailable)
                _log.warning("background.failed", work=self._name, error=str(error), exc_info=is_ours)
            self._failing = True
