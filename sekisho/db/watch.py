"""Whether somebody else has committed: what a follower asks again and again."""

from __future__ import annotations

import threading
from typing import Protocol


class Watch(Protocol):
    """News of commits to one database. Belongs to one thread; all but ``close`` raise DatabaseUnavailable."""

    def changed(self) -> bool:
        """Tell whether anybody else may have committed since the last question; the first answer is yes.

        A no is certain, and says that the database can be read now; after a yes, reading says so.
        """

    def forget(self) -> None:
        """Answer the next question with yes: what was learnt from the last one could not be used."""

    def wait(self, stopping: threading.Event, poll_s: float | None = None) -> None:
        """Wait until it is time to ask again: after news, after ``poll_s``, or when ``stopping`` is set.

        None: as seldom as this engine allows when every commit is to be told within half a second.
        """

    def close(self) -> None: ...
