from __future__ import annotations

import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from sekisho.audit import audit
from sekisho.audit.keeper import HeadKeeper
from sekisho.audit.signed import Signer
from sekisho.sealing import load
from tests.unit.doors.cli.command import CommandLine


@pytest.fixture
def made(sekisho: CommandLine) -> CommandLine:
    sekisho.text("account", "create", "acme", "--owner", "o@example.com")
    sekisho.text("subuser", "create", "shop", "--account", "acme")
    sekisho.text("account", "disable", "acme")
    sekisho.text("account", "enable", "acme")
    return sekisho


def keep(sekisho: CommandLine) -> Path:
    """Do what the server does each hour."""
    path = sekisho.directory / "audit-heads.jsonl"
    HeadKeeper(sekisho.control, Signer(load(sekisho.directory / "master.key", make=True)), path).keep()
    return path


def change(sekisho: CommandLine, statement: sa.Executable) -> None:
    with sekisho.control.begin() as tx:
        tx.execute(statement)


def test_everybodys_log_is_shown_or_one_of_them(made: CommandLine) -> None:
    shown = made.json("audit", "show")["entries"]
    assert [(one["account"], one["action"]) for one in shown] == [
        ("acme", "account.create"),
        ("acme", "account.owner_link"),
        ("shop", "subuser.create"),
        ("acme", "account.disable"),
        ("acme", "account.enable"),
    ]
    assert shown[0]["details"] == {"owner": "o@example.com"}
    assert shown[0]["actor"].startswith("operator:")
    shops = made.json("audit", "show", "--account", "acme", "--subuser", "shop")["entries"]
    assert [one["action"] for one in shops] == ["subuser.create"]
    assert len(made.json("audit", "show", "--limit", "1")["entries"]) == 1
    assert made.json("audit", "show", "--operator") == {"entries": []}
    assert "account.disable" in made.text("audit", "show", "--action", "account.disable")


def test_a_log_as_it_was_written_is_valid(made: CommandLine) -> None:
    keep(made)
    assert made.json("audit", "verify")["valid"] is True
    assert made.text("audit", "verify").startswith("valid: 2 logs")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (sa.update(audit).where(audit.c.action == "account.disable").values(details='{"x":1}'), "entry 3 was changed"),
        (sa.delete(audit).where(audit.c.action == "account.disable"), "entry 3 is missing"),
        (sa.delete(audit).where(audit.c.action == "account.enable"), "entry 4 is missing: cut off"),
    ],
)
def test_tampering_is_told_and_the_command_fails(made: CommandLine, statement: sa.Executable, said: str) -> None:
    change(made, statement)
    status, out, _ = made("audit", "verify")
    assert status == 1
    assert said in out


def test_a_tail_that_was_cut_with_its_note_is_known_by_a_signed_head(made: CommandLine, tmp_path: Path) -> None:
    elsewhere = tmp_path / "heads"
    elsewhere.write_bytes(keep(made).read_bytes())
    (made.directory / "audit-heads.jsonl").unlink()
    change(made, sa.delete(audit).where(audit.c.action.in_(["account.enable", "account.disable"])))
    with made.control.begin() as tx:
        hashed = tx.execute(sa.select(audit.c.hash).where(audit.c.action == "account.owner_link")).scalar_one()
        tx.execute(sa.text("UPDATE audit_chain SET seq = 2, hash = :h WHERE chain = 1"), {"h": hashed})
    assert made.json("audit", "verify")["valid"] is True
    status, out, _ = made("audit", "verify", "--head", str(elsewhere))
    assert status == 1
    assert "entries 3 to 4 are missing: cut off the end" in out


def test_an_export_is_verified_without_the_database(made: CommandLine, tmp_path: Path) -> None:
    heads, key = keep(made), made.json("audit", "verify")["public_key"]
    exported = tmp_path / "export.jsonl"
    exported.write_text(made.text("audit", "export", "--account", "acme"))
    arguments = ("audit", "verify", "--file", str(exported), "--head", str(heads), "--public-key", key)
    assert made.json(*arguments)["valid"] is True
    lines = exported.read_text().splitlines(keepends=True)
    exported.write_text("".join(lines[:-1]))
    status, out, _ = made(*arguments, "--json")
    assert (status, json.loads(out)["findings"][0]["flaw"]) == (1, "cut")


def test_mistakes_are_named(made: CommandLine, tmp_path: Path) -> None:
    assert "--subuser goes with --account" in made.error("audit", "show", "--subuser", "shop")
    assert "say whose log" in made.error("audit", "export")
    assert "no account 'nobody'" in made.error("audit", "verify", "--account", "nobody")
    forged = tmp_path / "forged"
    forged.write_text('{"chain":1}\n')
    assert "line 1 is not a signed head" in made.error("audit", "verify", "--head", str(forged))
    assert "is no exported entry" in made.error("audit", "verify", "--file", str(forged))
    assert "needs --public-key" in made.error("audit", "verify", "--file", str(forged), "--head", str(forged))
