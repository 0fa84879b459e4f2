from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.doors.cli.command import CommandLine


@pytest.fixture
def sekisho(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """The command line on a data directory that is not there yet."""
    for name in ("SUDO_USER", "USER"):
        monkeypatch.setenv(name, "tester")
    return CommandLine(tmp_path / "data", capsys, monkeypatch)
