"""Texts that do harm where a page prints them as they are, for every field that pages show."""

from __future__ import annotations

import html
from typing import Final

HOSTILE: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "</textarea><svg onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "javascript:alert(1)//{{7*7}}${7*7}{%",
    "<!--<script>",
    "&lt;b&gt;&amp;",
)


def is_harmless(page: str, text: str) -> bool:
    """Whether a page prints a text, and none of its marks as they are.

    Counted by what only the text has: the page itself has no ``alert(``, ``onerror`` or comment.
    """
    marked = any(mark in text for mark in "<>\"'&")
    return not marked or text not in page


def shows(page: str, text: str) -> bool:
    """Whether a page shows a text, harmlessly."""
    return text in html.unescape(page) and is_harmless(page, text)
