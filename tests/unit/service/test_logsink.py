from __future__ import annotations

import os
import select
import socket

import pytest

from sekisho.service.logsink import PENDING_MAX_BYTES, Sink

LINE = b"x" * 999 + b"\n"


def read_all(descriptor: int) -> bytes:
    """Everything that is there now."""
    text = b""
    while select.select([descriptor], [], [], 0)[0] and (more := os.read(descriptor, 1 << 16)):
        text += more
    return text


def catch_up(sink: Sink, reader: int) -> bytes:
    """Read until nothing waits any more."""
    text = b""
    while sink.is_behind:
        text += read_all(reader)
        sink.write(b"")
    return text + read_all(reader)


def full_pipe() -> tuple[int, int, Sink]:
    """A pipe that took all it can, and the sink that writes to it."""
    reader, writer = os.pipe()
    sink = Sink(writer)
    for _ in range(2 * (PENDING_MAX_BYTES + (1 << 16)) // len(LINE)):
        sink.write(LINE)
    return reader, writer, sink


def test_a_full_pipe_blocks_nobody_and_the_drops_are_counted_when_it_flows_again() -> None:
    reader, writer, sink = full_pipe()
    text = catch_up(sink, reader)
    *lines, last = text.splitlines(keepends=True)
    assert set(lines) == {LINE}
    count = 2 * (PENDING_MAX_BYTES + (1 << 16)) // len(LINE) - len(lines)
    assert count > 0
    assert last == b"%d log lines were dropped\n" % count
    assert os.get_blocking(writer)
    sink.close()
    os.close(reader)
    os.close(writer)


def test_what_waits_is_the_parent_s_to_write() -> None:
    reader, writer, sink = full_pipe()
    child = os.fork()
    if child == 0:
        sink.write(b"")
        os._exit(1 if sink.is_behind else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert sink.is_behind
    sink.close()
    os.close(reader)
    os.close(writer)


def test_the_end_waits_for_a_reader_only_so_long() -> None:
    reader, writer, sink = full_pipe()
    sink.finish(0.0)
    assert sink.is_behind
    sink.close()
    os.close(reader)
    os.close(writer)


def test_a_reader_that_is_gone_is_forgotten() -> None:
    reader, writer, sink = full_pipe()
    os.close(reader)
    sink.write(b"lost\n")
    assert not sink.is_behind
    sink.close()
    os.close(writer)


def test_a_socket_blocks_nobody_and_keeps_its_mode() -> None:
    ours, theirs = socket.socketpair()
    sink = Sink(ours.fileno())
    for _ in range(2000):
        sink.write(LINE)
    assert sink.is_behind
    assert ours.getblocking()
    text = catch_up(sink, theirs.fileno())
    assert text.endswith(b" log lines were dropped\n")
    sink.close()
    ours.close()
    theirs.close()


@pytest.mark.parametrize("size", [1, 5000])
def test_lines_go_out_in_order_and_whole(size: int) -> None:
    reader, writer = os.pipe()
    lines = [b"%d" % number + b"y" * size + b"\n" for number in range(5)]
    sink = Sink(writer)
    sink.write(b"".join(lines))
    assert read_all(reader) == b"".join(lines)
    sink.close()
    os.close(reader)
    os.close(writer)
