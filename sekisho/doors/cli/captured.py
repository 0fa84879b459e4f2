"""``sekisho captured``: the mail that capture mode has caught."""

from __future__ import annotations

import datetime as dt
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import typer

from sekisho.delivery.capture import FILE_NAME, Captured, CaptureStore
from sekisho.doors.cli.common import CommandError, ConfigOption, DataOption, JsonOption, emit, open_site, table

app = typer.Typer(no_args_is_help=True, help="Mail caught in capture mode.")

_SUBJECT_MAX: Final = 60


@app.command("list")
def list_(
    *,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many of the newest.")] = 50,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the newest captured copies, newest first."""
    with _opened(config, data) as store:
        found = store.newest(limit)
    emit({"captured": [_document(each) for each in found]}, as_json, lambda: _text(found))


@app.command()
def show(
    number: Annotated[int, typer.Argument(metavar="N", help="Its number, as listed.")],
    *,
    raw: Annotated[bool, typer.Option("--raw", help="The content as sent, octet for octet.")] = False,
    config: ConfigOption = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show one captured copy: its envelope and content."""
    with _opened(config, data) as store:
        found = store.find(number)
    if found is None:
        problem = f"no captured message {number}"
        raise CommandError(problem)
    captured, content = found
    if raw:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    # JSON is text: octets over 127 that are not UTF-8 are shown escaped; --raw gives them as they are.
    text = content.decode("utf-8", "backslashreplace")
    document = _document(captured) | {"content": text}
    emit(document, as_json, lambda: f"{_envelope(captured)}\n\n{_printable(text)}")


@contextmanager
def _opened(config: ConfigOption, data: DataOption) -> Iterator[CaptureStore]:
    with open_site(config, data) as site:
        store = CaptureStore(site.directory.path / FILE_NAME)
        try:
            yield store
        except (OSError, sqlite3.Error) as error:
            problem = f"the capture mailbox can't be read: {error}"
            raise CommandError(problem) from error
        finally:
            store.close()


def _document(captured: Captured) -> dict[str, object]:
    return {
        "number": captured.number,
        "at": _time(captured),
        "message_id": captured.message_id,
        "mail_from": captured.mail_from,
        "recipient": captured.recipient,
        "size": captured.size_bytes,
        "subject": _subject(captured.header),
    }


def _text(found: list[Captured]) -> str:
    if not found:
        return "Nothing captured."
    rows = [
        (each.number, _time(each), each.recipient, each.size_bytes, _subject(each.header)[:_SUBJECT_MAX])
        for each in found
    ]
    return table(("N", "CAPTURED", "RECIPIENT", "SIZE", "SUBJECT"), rows)


def _envelope(captured: Captured) -> str:
    return (
        f"Number:     {captured.number}\n"
        f"Captured:   {_time(captured)}\n"
        f"Message id: {captured.message_id}\n"
        f"MAIL FROM:  <{_printable(captured.mail_from)}>\n"
        f"RCPT TO:    <{_printable(captured.recipient)}>"
    )


def _time(captured: Captured) -> str:
    at = dt.datetime.fromtimestamp(captured.at_ms / 1000, dt.UTC)
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _subject(header: bytes) -> str:
    """The Subject as written, unfolded; encoded words are left as they are."""
    start = 0 if header[:8].lower() == b"subject:" else (b"\r\n" + header.lower()).find(b"\r\nsubject:")
    if start < 0:
        return ""
    lines = header[start + len(b"subject:") :].split(b"\r\n")
    value = lines[0]
    for line in lines[1:]:
        if line[:1] not in (b" ", b"\t"):
            break
        value += line
    return value.decode("utf-8", "backslashreplace").strip()


def _printable(text: str) -> str:
    """Text for a terminal: line breaks stay, other control characters are shown as what they are."""
    text = text.replace("\r\n", "\n")
    return "".join(mark if mark.isprintable() or mark in "\n\t" else f"\\x{ord(mark):02x}" for mark in text)
