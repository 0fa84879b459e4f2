from __future__ import annotations

import subprocess
import sys

from sekisho.delivery.capture import FILE_NAME, CaptureStore, Copy
from sekisho.doors.cli.captured import _subject
from tests.unit.doors.cli.command import CommandLine

HEADER = b"DKIM-Signature: v=1;\r\n b=x\r\nSubject: first\r\n second\r\nFrom: a@us.test\r\n"


def copy(number: int, header: bytes = HEADER, body: bytes = b"Hello.\r\n") -> Copy:
    size = len(header) + 2 + len(body)
    return (1_800_000_000_000, f"id{number}", 0, "b@relay.test", f"r{number}@mx.test", size, header, body)


def capture(sekisho: CommandLine, *copies: Copy) -> None:
    sekisho("account", "list")  # makes the data directory
    store = CaptureStore(sekisho.directory / FILE_NAME)
    store.capture(copies)
    store.close()


def test_before_anything_was_captured(sekisho: CommandLine) -> None:
    assert sekisho.json("captured", "list") == {"captured": []}
    assert sekisho.text("captured", "list") == "Nothing captured.\n"


def test_list(sekisho: CommandLine) -> None:
    capture(sekisho, copy(1), copy(2, b"From: a@us.test\r\n"), copy(3))
    three, two, one = sekisho.json("captured", "list")["captured"]
    assert one == {
        "number": 1,
        "at": "2027-01-15T08:00:00Z",
        "message_id": "id1",
        "mail_from": "b@relay.test",
        "recipient": "r1@mx.test",
        "size": len(HEADER) + 10,
        "subject": "first second",
    }
    assert (two["number"], two["subject"]) == (2, "")
    assert three["number"] == 3
    assert [each["number"] for each in sekisho.json("captured", "list", "-n", "1")["captured"]] == [3]
    assert "r3@mx.test" in sekisho.text("captured", "list")


def test_show(sekisho: CommandLine) -> None:
    capture(sekisho, copy(1, body=b"a\x1b[2J\xff\r\n"))
    assert sekisho.json("captured", "show", "1")["content"] == (HEADER + b"\r\n").decode() + "a\x1b[2J\\xff\r\n"
    shown = sekisho.text("captured", "show", "1")
    assert "RCPT TO:    <r1@mx.test>" in shown
    assert "\x1b" not in shown
    assert "Subject: first\n second\n" in shown


def test_show_raw_is_octet_for_octet(sekisho: CommandLine) -> None:
    content = b"a\x00\xff\r\n"
    capture(sekisho, copy(1, body=content))
    command = [sys.executable, "-c", "from sekisho.doors.cli.app import main; main()", "captured", "show", "1", "--raw"]
    shown = subprocess.run([*command, "--data", str(sekisho.directory)], check=True, capture_output=True)
    assert shown.stdout == HEADER + b"\r\n" + content


def test_what_is_not_there(sekisho: CommandLine) -> None:
    assert "no captured message 7" in sekisho.error("captured", "show", "7")


def test_the_subject_is_found_wherever_it_stands() -> None:
    for header, subject in (
        (b"Subject: x\r\n", "x"),
        (b"SUBJECT:x\r\n\ty\r\n", "x\ty"),
        (b"X-Subject: no\r\nsubject: yes\r\n", "yes"),
        (b"X: subject: no\r\n", ""),
        (b"", ""),
    ):
        assert _subject(header) == subject
