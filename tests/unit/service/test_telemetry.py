from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from sekisho.secret import Secret
from sekisho.service import telemetry
from sekisho.service.config import LogLevel
from sekisho.service.telemetry import LogFormat, configure


class Stderr:
    """What was written so far."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self._text = ""

    def text(self) -> str:
        self._text += self._capture.readouterr().err
        return self._text

    def lines(self) -> list[str]:
        return self.text().splitlines()

    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.lines()]


@pytest.fixture
def stderr(capfd: pytest.CaptureFixture[str]) -> Iterator[Stderr]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        yield Stderr(capfd)
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def fail() -> None:
    message = "oops"
    raise RuntimeError(message)


def test_a_line_is_one_json_object_with_time_level_event_and_who(stderr: Stderr) -> None:
    configure(LogFormat.JSON, LogLevel.INFO, "relay-0")
    structlog.get_logger().info("session", messages=2, tls="TLSv1.3", none=None)
    (line,) = stderr.documents()
    assert list(line)[:5] == ["timestamp", "level", "event", "role", "pid"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert (line["level"], line["event"], line["role"]) == ("info", "session", "relay-0")
    assert (line["messages"], line["tls"], line["none"]) == (2, "TLSv1.3", None)


@pytest.mark.parametrize("log_format", LogFormat)
def test_no_line_shows_a_secret(stderr: Stderr, log_format: LogFormat) -> None:
    configure(log_format, LogLevel.INFO, "relay-0")
    hidden: Secret[str] = Secret("hunter2")
    structlog.get_logger().info("x", plain=hidden, within={"a": [hidden]}, raw=Secret(b"hunter2"))
    logging.getLogger("library").error("said %s", hidden)
    assert len(stderr.lines()) == 2
    assert "hunter2" not in stderr.text()


@pytest.mark.parametrize("log_format", LogFormat)
@pytest.mark.parametrize("value", ["a\r\nb", b"\xff\r\n\x1b[0m", "\ud800", "\x1b[31m", {1: object()}, float("nan"), ""])
def test_no_value_breaks_a_line(stderr: Stderr, log_format: LogFormat, value: object) -> None:
    configure(log_format, LogLevel.INFO, "relay-0")
    structlog.get_logger().info("x", value=value, after=1)
    (line,) = stderr.lines()
    assert "after" in line
    assert line.isprintable()


def test_what_is_below_the_level_is_not_written_and_the_level_can_change(stderr: Stderr) -> None:
    log = structlog.get_logger()
    for level, written in ((LogLevel.WARNING, 1), (LogLevel.DEBUG, 4), (LogLevel.ERROR, 0)):
        configure(LogFormat.JSON, level, "web-0")
        before = len(stderr.lines())
        log.debug("a")
        log.info("b")
        log.warning("c")
        logging.getLogger("library").info("d")
        assert len(stderr.lines()) - before == written


def test_our_own_faults_come_with_their_traceback(stderr: Stderr) -> None:
    configure(LogFormat.JSON, LogLevel.INFO, "relay-0")
    try:
        fail()
    except RuntimeError:
        structlog.get_logger().exception("fault")
        logging.getLogger("library").exception("theirs")
    ours, theirs = stderr.documents()
    assert "RuntimeError: oops" in ours["exception"]
    assert "RuntimeError: oops" in theirs["exception"]
    assert theirs["logger"] == "library"


def test_text_shows_a_traceback_below_its_line(stderr: Stderr) -> None:
    configure(LogFormat.TEXT, LogLevel.INFO, "relay-0")
    try:
        fail()
    except RuntimeError:
        structlog.get_logger().exception("fault", session="a b")
    first, *more = stderr.lines()
    assert "error   relay-0[" in first
    assert first.endswith('fault session="a b"')
    assert more[-1] == "    RuntimeError: oops"


def test_a_library_s_wrong_format_is_written_as_it_is(stderr: Stderr) -> None:
    configure(LogFormat.JSON, LogLevel.INFO, "relay-0")
    logging.getLogger("library").warning("%d things", "many")
    assert stderr.documents()[0]["event"] == "%d things"


def test_malformed_requests_are_not_narrated(stderr: Stderr) -> None:
    configure(LogFormat.JSON, LogLevel.DEBUG, "web-0")
    logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    assert stderr.lines() == []


def test_a_log_that_nobody_reads_stops_nobody(stderr: Stderr, monkeypatch: pytest.MonkeyPatch) -> None:
    del stderr
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(telemetry, "_STDERR", writer)
    configure(LogFormat.JSON, LogLevel.INFO, "relay-0")
    structlog.get_logger().info("lost")
    os.close(writer)
    structlog.get_logger().info("lost")


def test_a_long_line_is_written_whole(stderr: Stderr) -> None:
    configure(LogFormat.JSON, LogLevel.INFO, "relay-0")
    structlog.get_logger().info("x", value="y" * 300_000)
    (line,) = stderr.documents()
    assert len(line["value"]) == 300_000
