"""The pages tell the truth: generated parts are fresh, nothing is left undocumented, links lead somewhere."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """What GitHub and others make of headings."""
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken(page: Path, text: str) -> list[str]:
    found = []
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_local_links_lead_somewhere(page: Path) -> None:
    assert not broken(page, page.read_text())


def test_a_dead_link_would_be_noticed() -> None:
    page = ROOT / "README.md"
    assert broken(page, "[a](nowhere.md) [b](docs/smtp.md#no-such-part) [c](docs/smtp.md)") == [
        "nowhere.md",
        "docs/smtp.md#no-such-part",
    ]


def test_generated_pages_are_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "gendocs.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def complaints() -> set[str]:
    """The names of all warnings and errors that the program logs."""
    names = set()
    for path in (ROOT / "sekisho").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="_log"), attr="warning" | "error" | "exception"),
                    args=[ast.Constant(value=str(name)), *_],
                ):
                    names.add(name)
    return names


def test_every_warning_and_error_is_explained_to_operators() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert sorted(name for name in complaints() if f"`{name}`" not in text) == []


def test_both_readmes_show_the_same_commands_and_pages() -> None:
    """The translations may differ in words, not in what they tell people to type or where they send them."""
    english, japanese = ((ROOT / name).read_text() for name in ("README.md", "README.ja.md"))

    def typed(text: str) -> list[str]:
        # Comments at a line's end are prose.
        return [re.sub(r"\s{2,}# .*", "", line).strip() for line in text.splitlines() if line.startswith("    ")]

    assert typed(english) == typed(japanese)
    assert sorted(set(LINK.findall(english)) - {"README.ja.md"}) == sorted(set(LINK.findall(japanese)) - {"README.md"})


def test_every_page_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [page.name for page in ROOT.glob("docs/*.md") if f"(docs/{page.name})" not in text] == []
