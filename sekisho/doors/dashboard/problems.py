"""How a page says no: the exceptions that end a request with another page than the one that was asked for."""

from __future__ import annotations

from typing import Final, NoReturn


class PageProblem(Exception):
    """Ends a request with an error page; ``text`` is an English sentence of the catalogue."""

    def __init__(self, status: int, text: str | None = None, *, retry_after_s: int | None = None) -> None:
        super().__init__(f"{status}: {text}")
        self.status: Final = status
        self.text: Final = text
        self.retry_after_s: Final = retry_after_s


class SessionOver(Exception):
    """Ends a request with the login page: whoever made it is not logged in any more, or may do less than before."""


def refuse(status: int, text: str | None = None) -> NoReturn:
    raise PageProblem(status, text)
