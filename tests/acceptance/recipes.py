"""The recipes of ``docs/smtp.md``: what the page tells people to type is what the tests run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

_PAGE = Path(__file__).parents[2] / "docs" / "smtp.md"


def recipe(title: str, *, port: int, part: int = 0) -> str:
    """The ``part``-th block of code under that heading, with this machine and port in place of the page's."""
    section = re.search(rf"^### {re.escape(title)}\n(.*?)(?=^#|\Z)", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert section is not None, f"docs/smtp.md has no client {title!r}"
    blocks = re.findall(r"(?:^    .*\n(?:^\n(?=    ))?)+", section[1], re.MULTILINE)
    text = textwrap.dedent(blocks[part])
    assert "example." in text, f"this block of {title!r} is not what the tests take it for: {text!r}"
    return text.replace("relay.example.net", "localhost").replace("587", str(port))


def changed(text: str, old: str, new: str) -> str:
    """The recipe with what its last line says for port 465."""
    assert text.count(old) == 1, (old, text)
    return text.replace(old, new)
