"""Every dialogue once more, over TCP and real TLS: driver, loop and all."""

from __future__ import annotations

import itertools
import socket
from pathlib import Path

import pytest

from tests.dialogues import script
from tests.dialogues.test_in_memory import LIMITS
from tests.fakes.smtpdoor import Door, open_door


class Client:
    """A blocking socket that hears lines."""

    def __init__(self, door: Door, *, implicit: bool) -> None:
        self._door = door
        self._socket = door.connect(implicit=implicit)
        self._unread = b""

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def line(self) -> str:
        while b"\r\n" not in self._unread:
            data = self._socket.recv(65536)
            assert data, f"closed, unread: {self._unread!r}"
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\r\n")
        return line.decode()

    def start_tls(self) -> None:
        assert not self._unread
        self._socket = self._door.client_context().wrap_socket(self._socket, server_hostname="localhost")

    def nothing_more(self) -> bool:
        try:
            return not self._unread + self._socket.recv(65536)
        except ConnectionResetError:
            return True  # what we still sent met a closed socket

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("loop_kind", ["uvloop", "asyncio"])
@pytest.mark.parametrize("path", script.scripts(), ids=lambda path: path.stem)
def test_dialogue(path: Path, loop_kind: str, tmp_path: Path) -> None:
    steps = script.steps(path)
    implicit = isinstance(steps[0], script.Tls)
    limits = type(LIMITS)(
        message_bytes=LIMITS.message_bytes,
        header_bytes=LIMITS.header_bytes,
        header_fields=LIMITS.header_fields,
        recipients=LIMITS.recipients,
        messages=LIMITS.messages,
        failure_delay_ms=1,
        failure_delay_max_ms=1,
        linger_s=2,
    )
    with open_door(tmp_path, limits=limits, loop_kind=loop_kind) as door:
        client = Client(door, implicit=implicit)
        try:
            for step in itertools.islice(steps, int(implicit), None):
                match step:
                    case script.Send(data):
                        client.send(data)
                    case script.Expect() as expected:
                        heard = client.line()
                        assert expected.fits(heard), f"{path.name}:{expected.line} {expected.text!r} != {heard!r}"
                    case script.Tls():
                        client.start_tls()
                    case script.Closed():
                        assert client.nothing_more()
                    case script.Whole():
                        pass
        except socket.timeout as error:  # noqa: UP041
            message = f"{path.name}: the server said nothing"
            raise AssertionError(message) from error
        finally:
            client.close()
