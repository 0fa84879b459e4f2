"""A log that is open and not read: mail flows all the same, and the log says what it lacks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import threading

from tests.acceptance.relay import PATIENCE_S, environment, eventually, letter, submit
from tests.acceptance.site import Site
from tests.fakes.sink import Sink

BURST = 1200
"""Letters whose lines fill the pipe and what waits behind it."""


def test_mail_flows_while_nobody_reads_the_log(site: Site, sink: Sink) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    relay = site.relay()
    with subprocess.Popen(
        relay.arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=writer,
        start_new_session=True,
        env=environment(),
    ) as process:
        os.close(writer)
        text = bytearray()
        try:
            assert process.stdout is not None
            relay.ready = json.loads(process.stdout.readline())
            with contextlib.closing(relay.client(site.key)) as smtp:
                for number in range(BURST):
                    submit(smtp, letter(number), "reader@sink.test")
            sink.wait_for(BURST)
            drain = threading.Thread(target=_read_all, args=(reader, text))
            drain.start()
            eventually(lambda: b"log.lines_dropped" in text, "the line about dropped lines")
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE_S) == 0
            drain.join(PATIENCE_S)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            os.close(reader)
    lines = [json.loads(line) for line in text.splitlines()]
    assert sum(line.get("count", 0) for line in lines if line["event"] == "log.lines_dropped") > 0


def _read_all(descriptor: int, text: bytearray) -> None:
    while more := os.read(descriptor, 1 << 16):
        text += more
