"""One data directory and the command line upon it, in this process."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sekisho.db import Database
from sekisho.doors.cli.app import run


@dataclass
class CommandLine:
    """``sekisho … --data DIR``; each call is a whole command, as an operator's script makes it."""

    directory: Path
    capture: pytest.CaptureFixture[str]
    patch: pytest.MonkeyPatch

    def __call__(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
        """The exit status, what was printed, and what was complained."""
        self.patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self.capture.readouterr()
        status = run([*arguments, "--data", str(self.directory)])
        printed = self.capture.readouterr()
        return status, printed.out, printed.err

    def json(self, *arguments: str, stdin: bytes = b"") -> Any:
        status, out, err = self(*arguments, "--json", stdin=stdin)
        assert (status, err) == (0, "")
        assert out.count("\n") == 1
        return json.loads(out)

    def text(self, *arguments: str) -> str:
        status, out, err = self(*arguments)
        assert (status, err) == (0, "")
        return out

    def error(self, *arguments: str, stdin: bytes = b"") -> str:
        status, out, err = self(*arguments, stdin=stdin)
        assert (status, out) == (1, "")
        assert err.count("\n") == 1
        return err

    @property
    def control(self) -> Database:
        return Database(self.directory / "control.db")
