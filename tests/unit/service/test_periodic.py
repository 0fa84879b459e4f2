from __future__ import annotations

import threading
from queue import SimpleQueue

import pytest
import structlog

from sekisho.db import DatabaseUnavailable
from sekisho.service.periodic import Periodic

FOR_EVER_S = 3600.0


def test_it_steps_at_once_and_a_last_time_at_the_end() -> None:
    done: SimpleQueue[str] = SimpleQueue()
    work = Periodic("work", lambda: done.put("step"), every_s=FOR_EVER_S, last=lambda: done.put("last"))
    work.start()
    assert done.get(timeout=60) == "step"
    assert done.empty()
    work.stop()
    assert done.get_nowait() == "last"
    assert done.empty()


def test_what_was_never_started_can_be_stopped() -> None:
    Periodic("work", lambda: None, every_s=FOR_EVER_S).stop()


@pytest.mark.parametrize("error", [DatabaseUnavailable("away"), ZeroDivisionError()])
def test_a_failing_step_is_told_once_and_tried_again(error: Exception) -> None:
    steps = 0
    enough = threading.Event()

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps in {1, 2, 4}:
            raise error
        if steps == 5:
            enough.set()

    with structlog.testing.capture_logs() as logs:
        work = Periodic("work", step, every_s=0)
        work.start()
        assert enough.wait(60)
        work.stop()
    told = [line for line in logs if line["event"] == "background.failed"]
    assert [line["work"] for line in told] == ["work", "work"]
    assert {line["exc_info"] for line in told} == {not isinstance(error, DatabaseUnavailable)}
