"""Raw octets at the real HTTP server: what tells two readers of one connection different stories ends it."""

from __future__ import annotations

import json
import socket
from typing import Final
from urllib.parse import urlsplit

from tests.acceptance.relay import Relay
from tests.acceptance.site import Site

HOST: Final = b"Host: relay.test\r\n"


def talk(relay: Relay, octets: bytes) -> list[tuple[int, bytes]]:
    """Send octets and read until the server hangs up: status and body of each answer."""
    place = urlsplit(relay.ready["http"])
    assert place.port is not None
    with socket.create_connection(("127.0.0.1", place.port), timeout=30) as connection:
        connection.sendall(octets)
        heard = b""
        while chunk := connection.recv(65_536):
            heard += chunk
    answers = []
    while heard:
        head, _, rest = heard.partition(b"\r\n\r\n")
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }
        length = int(fields.get(b"content-length", b"0"))
        answers.append((int(head.split()[1]), rest[:length]))
        heard = rest[length:]
    return answers


def request(key: str, *fields: bytes, line: bytes = b"GET /v3/scopes HTTP/1.1", body: bytes = b"") -> bytes:
    authorization = b"Authorization: Bearer " + key.encode()
    lines = [line, HOST.strip(), authorization, *fields]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


SECOND: Final = b"GET /v3/hidden HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n"

SMUGGLED: Final = {
    "length and chunks": ((b"Content-Length: 5", b"Transfer-Encoding: chunked"), b"0\r\n\r\n" + SECOND),
    "two lengths": ((b"Content-Length: 0", b"Content-Length: 49"), SECOND),
    "a list of lengths": ((b"Content-Length: 0, 49",), SECOND),
    "a signed length": ((b"Content-Length: +0",), SECOND),
    "a length in hexadecimal": ((b"Content-Length: 0x31",), SECOND),
    "an unknown coding": ((b"Transfer-Encoding: xchunked",), SECOND),
    "two codings": ((b"Transfer-Encoding: chunked, identity",), SECOND),
    "a bad chunk": ((b"Transfer-Encoding: chunked",), b"zz\r\n" + SECOND),
    "a space before the colon": ((b"Content-Length : 49",), SECOND),
    "a bare CR in a field": ((b"X-A: b\rContent-Length: 49",), SECOND),
    "a NUL in a field": ((b"X-A: b\0c",), SECOND),
    "a field without a name": ((b": b",), SECOND),
    "no colon": ((b"nonsense",), SECOND),
}


def test_requests_that_can_be_read_in_two_ways_end_the_connection(site: Site) -> None:
    with site.relay() as relay:
        assert [status for status, _ in talk(relay, request(site.key) + SECOND)] == [200, 404]
        for name, (fields, body) in SMUGGLED.items():
            answers = talk(relay, request(site.key, *fields, line=b"POST /v3/scopes HTTP/1.1", body=body))
            assert [status for status, _ in answers] == [400], name
            assert json.loads(answers[0][1])["errors"][0].keys() == {"message", "field", "help"}, name


def test_request_lines_that_are_none_are_told_so(site: Site) -> None:
    lines = (
        b"GET /v3/scopes",
        b"GET  /v3/scopes HTTP/1.1",
        b"GET /v3/sco pes HTTP/1.1",
        b"GET /v3/scopes HTTP/1.1 x",
        b"\x16\x03\x01\x02",
    )
    with site.relay() as relay:
        for line in lines:
            (answer,) = talk(relay, request(site.key, line=line))
            assert (answer[0], b"bad request" in answer[1]) == (400, True), (line, answer)
        for path in (b"//v3/scopes", b"/v3/../v3/scopes", b"/v3/%2e%2e/v3/scopes", b"/v3/x/%2e%2e/scopes", b"*"):
            (answer,) = talk(relay, request(site.key, b"Connection: close", line=b"GET " + path + b" HTTP/1.1"))
            assert answer[0] == 404, path
        for method in (b"TRACE", b"CONNECT", b"PROPFIND", b"DELETE"):
            (answer,) = talk(relay, request(site.key, b"Connection: close", line=method + b" /v3/scopes HTTP/1.1"))
            assert (answer[0], b"errors" in answer[1]) == (405, True), method


def test_what_stands_in_an_address_is_no_header_of_the_answer(site: Site) -> None:
    with site.relay() as relay:
        line = b"GET /v3/subusers?username=%0d%0aX-Evil:%201 HTTP/1.1"
        (answer,) = talk(relay, request(site.key, b"Connection: close", line=line))
        assert answer == (200, b"[]")
