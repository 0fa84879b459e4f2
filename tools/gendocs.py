"""Writes the generated pages of ``docs/`` from the code; ``--check`` only says whether they are up to date."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from sekisho.doors.api.app import HANDLERS
from sekisho.doors.api.document import describe
from sekisho.doors.cli.app import app
from sekisho.doors.smtp import bounds
from sekisho.doors.smtp.replies import Stage, to_smtp
from sekisho.refusal import Reason, Refused
from sekisho.service.config import reference
from sekisho.wire.smtp.reply import Reply

Command = Any
Parameter = Any
"""Of the click that typer carries inside, which it does not show."""

DOCS = Path(__file__).resolve().parents[1] / "docs"
GENERATED = "<!-- Written by `make docs`; change the code, not this page. -->\n\n"


def configuration() -> str:
    return GENERATED + reference()


COMMANDS_HEAD = """# Commands

Every command takes `--config FILE` (the configuration), `--data DIR` (a data directory; wins over the configuration)
and `--json` (one JSON document on stdout); they may stand last. Administration works while the server runs, while it
is stopped and before its first start, takes effect at once, and writes to the audit log. Run as root it acts as the
owner of the data directory. Exit status: 0 done, 1 not done (one line on stderr says why), 2 the command line or the
configuration is wrong.
"""
COMMON = {"config", "data", "as_json", "help"}


def commands() -> str:
    parts = [GENERATED + COMMANDS_HEAD]
    for path, command in sorted(leaves(typer.main.get_command(app), ())):
        parts.append(f"## `sekisho {' '.join(path)}`\n\n{(command.help or '').strip()}\n")
        if rows := [row(parameter) for parameter in command.params if parameter.name not in COMMON]:
            parts.append("| | |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def leaves(command: Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Command]]:
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            if not child.hidden:
                yield from leaves(child, (*path, name))
    else:
        yield path, command


def row(parameter: Parameter) -> str:
    if parameter.param_type_name == "option":
        metavar = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
        name = ", ".join([*parameter.opts, *parameter.secondary_opts]) + metavar
        more = " May be given several times." if parameter.multiple else ""
    else:
        name, more = parameter.metavar or parameter.name.upper(), ""
    return f"| `{cell(name)}` | {cell(getattr(parameter, 'help', None) or '')}{more} |"


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def between(page: Path, name: str, text: str) -> str:
    """The page with the part between its ``name`` marks replaced."""
    head, begin, rest = page.read_text().partition(f"<!-- {name}: written by `make docs` -->\n")
    _, end, tail = rest.partition(f"<!-- {name}: end -->\n")
    if not (begin and end):
        message = f"{page.name} has no marks for {name}"
        raise ValueError(message)
    return head + begin + text + end + tail


def replies() -> str:
    """A row per reason of refusal, as the SMTP door says it at each stage."""
    rows = []
    for reason in Reason:
        login, envelope, content = (
            said(to_smtp(Refused(reason), stage)) for stage in (Stage.AUTH, Stage.ENVELOPE, Stage.CONTENT)
        )
        # A login is refused for reasons of the pass only.
        at_login = login if reason.value.startswith("auth.") else ""
        later = envelope if content == envelope else f"{envelope}; after the content {content}"
        rows.append(f"| `{reason.value}` | {at_login} | {'the same' if later == at_login else later} |")
    return "\n".join(rows) + "\n"


def said(reply: Reply) -> str:
    return f"`{reply.code} {reply.enhanced}` {cell(' '.join(reply.lines))}"


def routes() -> str:
    """A row per route of the Web API, from its own OpenAPI document."""
    rows = ["| call | scope | `on-behalf-of` | |\n|---|---|---|---|"]
    for path, methods in describe(HANDLERS)["paths"].items():
        for method, told in methods.items():
            scope = (
                "no key" if told.get("security") == [] else f"`{told['x-scope']}`" if "x-scope" in told else "any key"
            )
            behalf = told["x-on-behalf-of"]
            rows.append(f"| `{method.upper()} {path}` | {scope} | {behalf} | {cell(told['summary'])} |")
    return "\n".join(rows) + "\n"


def pages() -> dict[Path, str]:
    return {
        DOCS / "configuration.md": configuration(),
        DOCS / "commands.md": commands(),
        DOCS / "api.md": between(DOCS / "api.md", "routes", routes()),
        DOCS / "security.md": between(DOCS / "security.md", "bounds", bounds.table()),
        DOCS / "smtp.md": between(DOCS / "smtp.md", "replies", replies()),
    }


def main() -> int:
    check = "--check" in sys.argv[1:]
    stale = 0
    for page, text in pages().items():
        old = page.read_text() if page.exists() else ""
        if old == text:
            continue
        stale += 1
        if check:
            print(
                *difflib.unified_diff(
                    old.splitlines(), text.splitlines(), page.name, "as it should be", lineterm="", n=1
                ),
                sep="\n",
            )
        else:
            page.write_text(text)
            print(f"wrote {page.name}")
    if check and stale:
        print("run: make docs")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
