"""``sekisho db``: the databases' schema."""

from __future__ import annotations

import typer

from sekisho.doors.cli.common import ConfigOption, DataOption, JsonOption, emit, open_site

app = typer.Typer(no_args_is_help=True, help="The databases' schema.")


@app.callback()
def _group() -> None:
    """Keep ``upgrade`` a subcommand: typer would fold a group of one into its parent."""


@app.command()
def upgrade(config: ConfigOption = None, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Bring both databases to this release's schema (SQLite does so by itself, PostgreSQL only by this)."""
    with open_site(config, data, migrate=True) as site:
        upgraded = [history.value for history in site.upgraded]
    text = f"Upgraded: {', '.join(upgraded)}." if upgraded else "Everything has this release's schema already."
    emit({"upgraded": upgraded}, as_json, text)
