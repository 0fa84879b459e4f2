"""A disk without room refuses, keeps, and goes on by itself when there is room again."""

from __future__ import annotations

import contextlib
import shutil
import smtplib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.relay import Relay, eventually, letter, submit
from tests.acceptance.site import Site
from tests.acceptance.tracing import Strace, relay_worker, skip_without_strace
from tests.fakes.sink import Sink

FULL = (452, b"4.3.1")
SMALL_DISK_BYTES = 16 << 20


@pytest.fixture
def site(site: Site) -> Site:
    site.server = "workers = 1"
    site.delivery = 'retry_first = "1s"\nretry_max = "2s"'
    site.write()
    return site


@pytest.fixture
def small(site: Site) -> Iterator[Site]:
    """The site with its data directory on a small file system of its own."""
    kept = site.data.with_name("kept")
    site.data.rename(kept)
    site.data.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_BYTES},mode=700", "none", site.data],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode != 0:
        pytest.skip(f"this machine does not allow mounts: {mounted.stderr.strip()}")
    try:
        shutil.copytree(kept, site.data, dirs_exist_ok=True)
        yield site
    finally:
        site.relay().kill_group()
        subprocess.run(["umount", site.data], check=True)


def later(verb: str, _argument: str) -> str | None:
    return "451 4.7.1 Later" if verb == "RCPT" else None


def must_be_full(no: smtplib.SMTPResponseException) -> None:
    text = no.smtp_error if isinstance(no.smtp_error, bytes) else no.smtp_error.encode()
    assert (no.smtp_code, text[:5]) == FULL, no


def hand_in_until_refused(relay: Relay, site: Site, filler: int, first: int = 1) -> dict[int, str]:
    """The promises until the disk was full."""
    promised: dict[int, str] = {}
    with contextlib.closing(relay.client(site.key)) as smtp:
        for number in range(first, first + 2000):
            try:
                promised[number] = submit(smtp, letter(number, filler=filler), "reader@sink.test")
            except smtplib.SMTPResponseException as no:
                must_be_full(no)
                return promised
    message = "the disk never became full"
    raise AssertionError(message)


def is_taken(relay: Relay, site: Site, number: int) -> bool:
    try:
        relay.send(site.key, letter(number))
    except smtplib.SMTPResponseException as no:
        must_be_full(no)
        return False
    return True


def arrived(sink: Sink) -> set[int | None]:
    return {letter.sequence for letter in sink.letters}


@pytest.mark.parametrize("filler", [20_000, 400_000], ids=["rows", "files"])
def test_a_full_disk_refuses_and_keeps_and_recovers_by_delivering(small: Site, sink: Sink, filler: int) -> None:
    sink.answer = later
    with small.relay() as relay:
        promised = hand_in_until_refused(relay, small, filler)
        assert len(promised) > 5
        assert {row["message_id"] for row in small.queue()} == set(promised.values())
        # Nothing but delivering makes room here.
        sink.answer = lambda _verb, _argument: None
        eventually(lambda: set(promised) <= arrived(sink), "the queue's delivery", timeout_s=40)
        eventually(lambda: is_taken(relay, small, 9000), "mail is taken again", timeout_s=40)
        eventually(lambda: not small.queue(), "an empty queue", timeout_s=40)
        assert relay.stop() == 0
    copies = sink.copies()
    assert {number for number, _ in copies} == {*promised, 9000}
    assert set(copies.values()) == {1}


def fill(folder: Path) -> Path:
    """Take all room that is left, as another program's files would."""
    glut = folder / "glut"
    with glut.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(4096))
    return glut


def test_mail_goes_on_by_itself_when_others_give_room_back(small: Site, sink: Sink) -> None:
    sink.answer = later
    with small.relay() as relay:
        promised = {1: relay.send(small.key, letter(1)), 2: relay.send(small.key, letter(2, filler=300_000))}
        glut = fill(small.data)
        with contextlib.closing(relay.client(small.key)) as smtp:
            for filler in (0, 300_000):
                with pytest.raises(smtplib.SMTPDataError) as refused:
                    submit(smtp, letter(3, filler=filler), "reader@sink.test")
                must_be_full(refused.value)
        sink.answer = lambda _verb, _argument: None
        glut.unlink()
        eventually(lambda: arrived(sink) == set(promised), "the queue's delivery")
        eventually(lambda: is_taken(relay, small, 4), "mail is taken again")
        eventually(lambda: not small.queue(), "an empty queue")
        assert relay.stop() == 0
    assert {number for number, _ in sink.copies()} == {1, 2, 4}
    assert set(sink.copies().values()) == {1}


def test_a_start_on_a_full_disk_takes_nothing_and_loses_nothing(small: Site, sink: Sink) -> None:
    sink.answer = later
    with small.relay() as relay:
        relay.send(small.key, letter(1))
        assert relay.stop() == 0
        glut = fill(small.data)
        relay.start()
        with contextlib.closing(relay.client(small.key)) as smtp, pytest.raises(smtplib.SMTPDataError) as refused:
            submit(smtp, letter(2), "reader@sink.test")
        must_be_full(refused.value)
        glut.unlink()
        sink.answer = lambda _verb, _argument: None
        eventually(lambda: arrived(sink) == {1}, "what was queued")
        assert relay.stop() == 0


def test_a_used_up_quota_is_a_full_disk(site: Site, sink: Sink, tmp_path: Path) -> None:
    skip_without_strace()
    with site.relay() as relay:
        relay.send(site.key, letter(1))
        sink.wait_for(1)
        # Not fdatasync: a database's sync that fails is another matter. Bodies and the probe are written and fsynced.
        options = ("-e", "trace=pwrite64,fsync", "-e", "inject=pwrite64,fsync:error=EDQUOT")
        with (
            Strace(relay_worker(relay), tmp_path / "trace", *options),
            contextlib.closing(relay.client(site.key)) as smtp,
        ):
            for filler in (0, 300_000):
                with pytest.raises(smtplib.SMTPDataError) as refused:
                    submit(smtp, letter(2, filler=filler), "reader@sink.test")
                must_be_full(refused.value)
        relay.send(site.key, letter(3))
        sink.wait_for(2)
        assert relay.stop() == 0
    assert arrived(sink) == {1, 3}
