"""The shape of log lines: one JSON object a line on stderr, or one line of text for people.

Everything goes through structlog: ours, and what libraries give to the standard logging module. Nothing here can print
a Secret: values that are not plain are printed by their repr, and a Secret's says nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import datetime as dt
import enum
import logging
import os
import threading
from collections.abc import Callable, MutableMapping
from typing import Any, ClassVar, Final

import msgspec
import structlog

from sekisho.service.config import LogLevel
from sekisho.service.logsink import Sink


class LogFormat(enum.StrEnum):
    """How a line is written."""

    JSON = "json"
    TEXT = "text"


_LEVELS: Final = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}
_STDERR: Final = 2
# Libraries that narrate at info what our own lines say better.
_QUIET: Final = ("alembic", "asyncio", "sqlalchemy")


def configure(log_format: LogFormat, level: LogLevel, role: str) -> None:
    """Set logging up for this process; called again after a fork (``role``) and when the level changes."""
    render = _json_line if log_format is LogFormat.JSON else _text_line
    line = _renderer(render, role)
    _Output.use(
        lambda count: line(None, "", {"level": "warning", "event": "log.lines_dropped", "count": count}) + b"\n"
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=_Stderr,
        # A cached logger would keep the level that was in force when it was first used.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Bridge()]
    root.setLevel(_LEVELS[level])
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(_LEVELS[level], logging.WARNING))
    # At warning it tells of every malformed request: a line for each stranger who knocks.
    logging.getLogger("uvicorn").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


_GATHER_S: Final = 0.1
_GATHERED_MAX_BYTES: Final = 1 << 16
_FINISH_S: Final = 1.0


def gather(loop: asyncio.AbstractEventLoop) -> None:
    """Write ordinary lines up to a tenth of a second late, many with one call; a warning or worse at once, in order.

    For a worker on its loop: a line per delivery, each with a system call of its own, is what logging costs most.
    """
    _Stderr.gatherer = _Gatherer(loop)


def flush() -> None:
    """Write what was gathered; before a process ends without ceremony."""
    if _Stderr.gatherer is not None:
        _Stderr.gatherer.flush()


def finish() -> None:
    """Write what is left when a process ends, for as long as a reader can be waited for."""
    flush()
    if _Output.sink is not None:
        _Output.sink.finish(_FINISH_S)


class _Gatherer:
    """Lines that wait; taken on the loop's thread alone."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop: Final = loop
        self._thread: Final = threading.get_ident()
        self._lock: Final = threading.Lock()
        self._lines: list[bytes] = []
        self._bytes = 0
        self._is_trying = False

    def take(self, line: bytes) -> bool:
        """Keep a line for later; False from other threads, which write by themselves."""
        if threading.get_ident() != self._thread:
            return False
        with self._lock:
            if not self._lines:
                self._loop.call_later(_GATHER_S, self.flush)
            self._lines.append(line)
            self._bytes += len(line)
            is_full = self._bytes >= _GATHERED_MAX_BYTES
        if is_full:
            self.flush()
        return True

    def flush(self) -> None:
        """From any thread: a warning of another one keeps its place among the lines."""
        with self._lock:
            lines, self._lines, self._bytes = self._lines, [], 0
        if lines:
            _write(b"".join(lines))
        self._try_later()

    def _try_later(self) -> None:
        """What the reader did not take is offered again, although nobody may log anything more."""
        if not _is_behind() or self._is_trying:
            return
        self._is_trying = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: the end of the process tries once more
            self._loop.call_soon_threadsafe(self._loop.call_later, _GATHER_S, self._try)

    def _try(self) -> None:
        self._is_trying = False
        _write(b"")
        self._try_later()


class _Output:
    """The one sink of this process and those it forks, made while stderr can still be opened anew."""

    sink: ClassVar[Sink | None] = None
    key: ClassVar[tuple[int, int, int] | None] = None

    @classmethod
    def use(cls, render: Callable[[int], bytes]) -> None:
        try:
            found = os.fstat(_STDERR)
            key = (_STDERR, found.st_dev, found.st_ino)
        except OSError:
            key = (_STDERR, 0, 0)
        if cls.sink is None or cls.key != key:
            if cls.sink is None:
                # The supervisor's end; workers, which end without ceremony, call it themselves.
                atexit.register(finish)
            else:
                cls.sink.close()
            cls.sink, cls.key = Sink(_STDERR), key
        cls.sink.tell = render


def _write(text: bytes) -> None:
    """Write to stderr without ever waiting for whoever reads it."""
    if _Output.sink is None:
        _Output.sink = Sink(_STDERR)
    _Output.sink.write(text)


def _is_behind() -> bool:
    return _Output.sink is not None and _Output.sink.is_behind


class _Stderr:
    """Writes each line whole, so that the lines of several processes do not mix."""

    gatherer: ClassVar[_Gatherer | None] = None

    def __init__(self, *_names: object) -> None:
        """The names are what structlog passes to a logger."""

    def info(self, line: bytes) -> None:
        line += b"\n"
        if self.gatherer is None or not self.gatherer.take(line):
            _write(line)

    def msg(self, line: bytes) -> None:
        flush()
        _write(line + b"\n")

    debug = info
    warning = error = critical = exception = fatal = log = msg


class _Bridge(logging.Handler):
    """Hand what libraries log to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except (TypeError, ValueError):
            text = str(record.msg)  # a library's wrong format string is no reason to lose the line
        more: dict[str, Any] = {"exc_info": record.exc_info} if record.exc_info else {}
        structlog.get_logger().log(record.levelno, text, logger=record.name, **more)


_Line = MutableMapping[str, Any]


def _renderer(render: Callable[[dict[str, Any]], bytes], role: str) -> Callable[[Any, str, _Line], bytes]:
    pid = os.getpid()

    def line(_logger: Any, _method: str, values: _Line) -> bytes:
        now = dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")
        head = {
            "timestamp": now.replace("+00:00", "Z"),
            "level": values.pop("level"),
            "event": values.pop("event"),
            "role": role,
            "pid": pid,
        }
        for name, value in values.items():
            # msgspec would print bytes as base64; a peer's bytes are read by people.
            head[name] = value.decode("ascii", "backslashreplace") if isinstance(value, bytes) else value
        return render(head)

    return line


_encoder: Final = msgspec.json.Encoder(enc_hook=repr, decimal_format="number")


def _json_line(values: dict[str, Any]) -> bytes:
    try:
        return _encoder.encode(values)
    except (TypeError, ValueError, RecursionError, UnicodeError):
        # A line that cannot be written as it is (lone surrogates, odd keys) is written some way: never lost, no fault.
        return _encoder.encode({name: _writable(value) for name, value in values.items()})


def _writable(value: object) -> str:
    return (value if isinstance(value, str) else repr(value)).encode("utf-8", "backslashreplace").decode()


def _text_line(values: dict[str, Any]) -> bytes:
    level, event = str(values.pop("level")), str(values.pop("event"))
    exception = values.pop("exception", None)
    role, pid = values.pop("role"), values.pop("pid")
    pairs = "".join(f" {name}={_word(value)}" for name, value in values.items() if name != "timestamp")
    text = f"{values['timestamp']} {level:<7} {role}[{pid}] {_printable(event)}{pairs}"
    if exception is not None:
        text += "\n" + "\n".join(f"    {_printable(row)}" for row in str(exception).splitlines())
    return text.encode("utf-8", "backslashreplace")


def _word(value: object) -> str:
    """One value so that a line stays one line and can be taken apart again."""
    text = value if isinstance(value, str) else repr(value)
    plain = text.isprintable() and text and not any(mark in text for mark in " =\"'")
    return text if plain else msgspec.json.encode(_writable(text)).decode()


def _printable(text: str) -> str:
    return "".join(mark if mark.isprintable() else f"\\x{ord(mark):02x}" for mark in text)
