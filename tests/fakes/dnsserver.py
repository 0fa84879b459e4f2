"""A small DNS server on loopback, in a thread: UDP and TCP, names and answers as the test says."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Answer = Sequence[str] | str
"""Record data in zone-file form (empty: the name is there, this type is not), or ``"SERVFAIL"``, ``"silence"``."""

_UDP_MAX = 512


@dataclass(slots=True)
class Zone:
    """What the server says; may change while it runs. A name that is not there is NXDOMAIN."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    address: str = "127.0.0.1"
    port: int = 0

    def put(self, name: str, kind: str, answer: Answer) -> None:
        self.answers[name.lower().rstrip("."), kind.upper()] = answer

    def put_texts(self, texts: Mapping[str, str]) -> None:
        for name, value in texts.items():
            # Strings of at most 255 octets, as in every zone file.
            self.put(name, "TXT", [" ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255))])

    def respond(self, wire: bytes, size_max: int) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name, kind = question.name.to_text().lower().rstrip("."), question.rdtype.name
        answer = self.answers.get((name, kind))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if answer == "silence":
            return None
        if answer == "SERVFAIL":
            response.set_rcode(dns.rcode.SERVFAIL)
        elif answer is None and not any(known == name for known, _ in self.answers):
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif answer:
            assert not isinstance(answer, str)
            response.answer.append(dns.rrset.from_text_list(question.name, 60, "IN", kind, list(answer)))
        packed: bytes = response.to_wire()
        if len(packed) > size_max:
            response.answer.clear()
            response.flags |= dns.flags.TC
            packed = response.to_wire()
        return packed


@contextlib.contextmanager
def dns_server() -> Iterator[Zone]:
    zone = Zone()

    class OverUdp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, peer = self.request
            if (answer := zone.respond(wire, _UDP_MAX)) is not None:
                peer.sendto(answer, self.client_address)

    class OverTcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (length,) = struct.unpack("!H", self.rfile.read(2))
            if (answer := zone.respond(self.rfile.read(length), 65_535)) is not None:
                self.wfile.write(struct.pack("!H", len(answer)) + answer)

    class TcpServer(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

    udp, tcp = _both_on_one_port(OverUdp, OverTcp, TcpServer)
    zone.port = udp.server_address[1]
    threads = [threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True) for server in (udp, tcp)]
    for thread in threads:
        thread.start()
    try:
        yield zone
    finally:
        for server in (udp, tcp):
            server.shutdown()
            server.server_close()
        for thread in threads:
            thread.join()


def _both_on_one_port(
    over_udp: type[socketserver.BaseRequestHandler],
    over_tcp: type[socketserver.BaseRequestHandler],
    tcp_server: type[socketserver.TCPServer],
) -> tuple[socketserver.UDPServer, socketserver.TCPServer]:
    for _ in range(50):
        udp = socketserver.UDPServer(("127.0.0.1", 0), over_udp)
        port = udp.server_address[1]
        try:
            return udp, tcp_server(("127.0.0.1", port), over_tcp)
        except OSError:
            udp.server_close()
    message = "no port is free for both UDP and TCP"
    raise RuntimeError(message)


def unused_udp_port() -> int:
    """A port that nobody answers on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
