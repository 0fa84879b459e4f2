"""Where everything of one spool lies under its directory."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sekisho.ids import MessageId, message_id_text


@dataclass(frozen=True, slots=True)
class Layout:
    """The names under ``<data_dir>/spool``."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "spool.db"

    @property
    def incoming(self) -> Path:
        """Bodies still being received; whatever lies here at a start is an orphan."""
        return self.root / "incoming"

    @property
    def bodies(self) -> Path:
        """Complete bodies that rows point to."""
        return self.root / "bodies"

    @property
    def slots(self) -> Path:
        """One lock file per worker slot, and one that says what its worker has under way."""
        return self.root / "slots"

    def flights(self, slot: int) -> Path:
        """Name the file of what the worker of a slot has under way."""
        return self.slots / f"{slot}.flight"

    @property
    def write_lock(self) -> Path:
        """Held for the length of every writing transaction."""
        return self.root / "write.lock"

    @property
    def next_lock(self) -> Path:
        """Held by the one process that is next in line for ``write_lock``."""
        return self.root / "next.lock"

    @property
    def use_lock(self) -> Path:
        """Shared by every process that has the spool open; exclusive while it is prepared or recovered."""
        return self.root / "use.lock"

    @property
    def suspect(self) -> Path:
        """Exists: storage failed under the database, nobody may write to it until it was recovered."""
        return self.root / "spool.suspect"

    def body(self, message_id: MessageId) -> Path:
        """Name the body file of a message."""
        return self.bodies / f"{message_id_text(message_id)}.body"

    def create(self) -> None:
        """Make the directories, durably."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for directory in (self.incoming, self.bodies, self.slots):
            directory.mkdir(mode=0o700, exist_ok=True)
        sync_directory(self.root)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make creations, renames and removals in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
