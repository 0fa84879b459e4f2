from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from sekisho.doors.cli import app as command_line
from sekisho.doors.cli.app import app, run
from sekisho.doors.cli.common import CommandError

ROOT = Path(__file__).parents[4]

COMMANDS = """
account create|account list|account disable|account enable
subuser create|subuser list|subuser disable|subuser enable|subuser delete
user list|user show|user reset-2fa
key create|key list|key show|key revoke
domain add|domain verify|domain list|domain show|domain remove|domain assign
queue status|queue list|queue show|queue retry|queue hold|queue release|queue drop
captured list|captured show
events tail
db upgrade
check
serve
"""
"""The contract's, as far as this version has them."""

LATER = ("backup", "restore")


def commands() -> Iterator[tuple[str, typer.core.TyperCommand]]:
    def walk(group: object, path: str) -> Iterator[tuple[str, typer.core.TyperCommand]]:
        for name, inner in getattr(group, "commands", {}).items():
            if hasattr(inner, "commands"):
                yield from walk(inner, f"{path}{name} ")
            else:
                yield f"{path}{name}", inner

    return walk(get_command(app), "")


FOUND = dict(commands())


def test_every_command_of_the_contract_is_there() -> None:
    wanted = {name.strip() for line in COMMANDS.split("\n") for name in line.split("|") if name.strip()}
    assert wanted | {"dev"} | set(LATER) <= set(FOUND)


@pytest.mark.parametrize("name", sorted(set(FOUND) - {"dev", *LATER}))
def test_configuration_data_and_json_are_options_of_every_command(name: str) -> None:
    options = {option for parameter in FOUND[name].params for option in parameter.opts}
    assert {"--config", "--data", "--json"} <= options


@pytest.mark.parametrize("name", sorted(set(FOUND) - set(LATER)))
def test_every_command_says_what_it_does(name: str) -> None:
    assert FOUND[name].help


@pytest.mark.parametrize("name", LATER)
def test_commands_of_later_releases_are_refused_by_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*name.split(), "--anything", "x", "--json"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"sekisho: {name}: not in this version; ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["account", "create"], 2, "sekisho account create: Missing argument"),
        (["account", "create", "a", "--owner", "o@x.test", "--jsn"], 2, "No such option: --jsn"),
        (["nope"], 2, "No such command"),
        (["check", "--config", "/nowhere/sekisho.toml"], 2, "/nowhere/sekisho.toml: cannot be read"),
        (["serve", "--roles", "relay,nope"], 2, "--roles relay,nope: must be"),
    ],
)
def test_an_error_is_one_line_on_stderr(
    arguments: list[str], status: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["account"], ["db"]])
def test_a_group_alone_shows_its_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "Usage:" in capsys.readouterr().err


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("sekisho ")


def test_a_fault_of_ours_shows_its_place_and_not_its_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        message = "SG.secret"
        raise KeyError(message)

    monkeypatch.setattr(command_line, "app", broken)
    assert run([]) == 1
    err = capsys.readouterr().err
    assert "internal error: KeyError at test_app.py:" in err
    assert "SG.secret" not in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("problem", "status"), [(CommandError("two\nlines"), 1), (KeyboardInterrupt(), 130), (BrokenPipeError(), 1)]
)
def test_other_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: BaseException, status: int
) -> None:
    def end(*_: object, **__: object) -> None:
        raise problem

    monkeypatch.setattr(command_line, "app", end)
    monkeypatch.setattr(command_line, "_forget_stdout", lambda: None)
    assert run([]) == status
    assert "two\nlines" not in capsys.readouterr().err


def test_the_databases_are_upgraded_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = []
    for _ in range(2):
        assert run(["db", "upgrade", "--data", str(tmp_path / "data"), "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told == [{"upgraded": ["control", "events"]}, {"upgraded": []}]


def test_check_prints_one_document_and_fails_only_for_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "sekisho.toml"
    good = (
        '[server]\nhostname = "localhost"\ndata_dir = "data"\n[[smtp.listeners]]\naddress = "127.0.0.1:0"\n'
        '[http]\naddress = "127.0.0.1:0"\n'
    )
    file.write_text(good)
    assert run(["check", "--config", str(file), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is True
    assert {"check", "status", "detail"} == set(document["checks"][0])
    assert not (tmp_path / "data").exists()

    file.write_text(f'{good}[tls]\ncertificate_file = "c"\nprivate_key_file = "k"\n')
    assert run(["check", "--config", str(file)]) == 1
    out, err = capsys.readouterr()
    assert "FAILED" in out
    assert err == ""


def test_the_script_is_the_one_that_the_package_names() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"sekisho": "sekisho.doors.cli.app:main"}
