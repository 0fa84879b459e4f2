"""A server of its own for the tests in a browser: ``sekisho dev`` with everything open that a test may want."""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import re
import sqlite3
from pathlib import Path
from types import TracebackType
from typing import Self

from sekisho.delivery.capture import FILE_NAME, CaptureStore
from tests.acceptance.relay import Document, Relay, eventually, run

DEV = ("dev", "--smtp-port", "0", "--smtps-port", "0", "--http-port", "0", "--json", "--data")


class Place:
    """Started while it is entered; mail that it sends stays in its capture box."""

    def __init__(self, folder: Path, env: dict[str, str] | None = None) -> None:
        self.data = folder / "data"
        self._relay = Relay(*DEV, self.data, logs=folder / "logs", env=env)

    def __enter__(self) -> Self:
        self._relay.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._relay.__exit__(kind, error, trace)

    @property
    def origin(self) -> str:
        origin: str = self._relay.ready["http"]
        return origin

    def run(self, *arguments: str) -> Document:
        """Run an administration command here and read what it prints."""
        return json.loads(run(*arguments, "--data", self.data, "--json").stdout)

    def age_step_ups(self) -> None:
        """Have ten minutes go by since anybody showed a second factor."""
        with contextlib.closing(sqlite3.connect(self.data / "control.db", timeout=60)) as database, database:
            database.execute("UPDATE session SET stepped_up_ms = stepped_up_ms - 600000")

    def letter(self, to: str, number: int = 1) -> str:
        """The text of the so-manieth letter to an address, once it has been sent."""
        letters: list[str] = eventually(lambda: found if len(found := self._letters(to)) >= number else [], to)
        return letters[number - 1]

    def _letters(self, to: str) -> list[str]:
        """Read all letters to an address, oldest first."""
        store = CaptureStore(self.data / FILE_NAME)
        with contextlib.closing(store):
            numbers = [one.number for one in store.newest(1000) if one.recipient == to]
            found = [one for number in reversed(numbers) if (one := store.find(number)) is not None]
        texts = []
        for _, content in found:
            message = email.message_from_bytes(content, policy=email.policy.default)
            body = message.get_body(("plain",))
            assert body is not None
            texts.append(body.get_content())
        return texts


def link_in(text: str) -> str:
    """The first address of ours in a letter."""
    found = re.search(r"http://localhost:\d+/\S+", text)
    assert found is not None, text
    return found[0]
