"""Pages of a list: ``limit`` and ``offset``, and the Link header around them (sheet mail-send.md §1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from sekisho.doors.api.problems import invalid

LIMIT_MAX: Final = 500
OFFSET_MAX: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list."""

    limit: int
    offset: int


def read_page(limit: int | None, offset: int | None, *, default: int = LIMIT_MAX, most: int = LIMIT_MAX) -> Page:
    """Take the query's numbers; raises Problem when they are none that a list can have."""
    if limit is not None and not 1 <= limit <= most:
        raise invalid(f"limit must be from 1 to {most}", "limit")
    if offset is not None and not 0 <= offset <= OFFSET_MAX:
        raise invalid("offset must not be negative", "offset")
    return Page(default if limit is None else limit, offset or 0)


def read_before(before: int | None) -> int | None:
    """Take the number of the last row seen; raises Problem when no row can have it."""
    if before is not None and not 0 <= before < 1 << 63:
        raise invalid("before must be the number of an entry", "before")
    return before


def link_header(path: str, query: list[tuple[str, str]], page: Page, total: int) -> str:
    """Print the Link header of one page of ``total`` rows; ``query`` is the request's other parameters."""
    last = max(0, (total - 1) // page.limit * page.limit)
    offsets = {
        "first": 0,
        "prev": max(0, page.offset - page.limit),
        "next": min(page.offset + page.limit, last),
        "last": last,
    }
    kept = [(name, value) for name, value in query if name not in {"limit", "offset"}]
    links = []
    for rel, offset in offsets.items():
        target = urlencode([*kept, ("limit", page.limit), ("offset", offset)])
        links.append(f'<{path}?{target}>; rel="{rel}"; title="{offset // page.limit + 1}"')
    return ", ".join(links)
