from __future__ import annotations

import threading
from pathlib import Path

import pytest

from sekisho.queue.layout import Layout
from sekisho.queue.locks import FileLock, LockTimeoutError, Turn


def test_a_writer_cannot_overtake_who_waits(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    busy, patient = Turn(layout), Turn(layout)
    order: list[str] = []

    def wait() -> None:
        with patient:
            order.append("patient")

    place_of_next = FileLock(layout.next_lock)
    with busy:
        thread = threading.Thread(target=wait)
        thread.start()
        # Until it is next in line.
        while place_of_next.try_exclusive():
            place_of_next.release()
    with busy:
        order.append("busy")
    thread.join()
    assert order == ["patient", "busy"]
    for lock in (busy, patient, place_of_next):
        lock.close()


@pytest.mark.parametrize("name", ["write.lock", "next.lock"])
def test_a_turn_that_never_comes(tmp_path: Path, name: str) -> None:
    stuck = FileLock(tmp_path / name)
    assert stuck.try_exclusive()
    turn = Turn(Layout(tmp_path), wait_s=0.01)
    with pytest.raises(LockTimeoutError, match=name), turn:
        pytest.fail("never")
    stuck.release()
    # Nothing of the failed try is left behind.
    with turn:
        assert not stuck.try_exclusive() or name == "next.lock"
    stuck.close()
    turn.close()
    turn.close()
