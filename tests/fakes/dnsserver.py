"""A strict DNS server on loopback, in threads: UDP and TCP, names, answers and faults as the test says.

It answers like a recursive resolver that knows nothing but its zone: aliases are followed, a name that is not there is
NXDOMAIN, negative answers carry an SOA. It complains of questions that no client should put, which fails the test.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset


class Fault(enum.StrEnum):
    """What the server does instead of answering."""

    CLOSED = "CLOSED"  # truncated over UDP; over TCP half an answer, and the connection ends
    CUT = "CUT"  # truncated over TCP as well, with a record
    CONTRADICTION = "CONTRADICTION"  # NXDOMAIN, with a record
    FORMERR = "FORMERR"
    GARBAGE = "GARBAGE"  # no DNS message
    NOTIMP = "NOTIMP"
    OTHER_NAME = "OTHER_NAME"  # records of another name
    OTHER_QUESTION = "OTHER_QUESTION"  # an answer to something that nobody asked
    OTHER_TYPE = "OTHER_TYPE"  # records of another type
    REFERRAL = "REFERRAL"  # lame: not an answer, but whom else to ask
    REFUSED = "REFUSED"
    SERVFAIL = "SERVFAIL"
    SILENCE = "silence"
    TRUNCATED = "TRUNCATED"  # over TCP as well, and no record
    WRONG_ID = "WRONG_ID"


Answer = Sequence[str] | Fault
"""Record data in zone-file form (empty: the name is there, this type is not), or a fault (its name will do)."""

_UDP_MAX = 512
_TCP_MAX = 65_535
_ALIASES_MAX = 20
_SAMPLES = {
    "A": ("A", "198.51.100.66"),
    "AAAA": ("AAAA", "2001:db8::66"),
    "MX": ("MX", "10 elsewhere.test."),
}
_RCODES = {
    Fault.FORMERR: dns.rcode.FORMERR,
    Fault.NOTIMP: dns.rcode.NOTIMP,
    Fault.REFUSED: dns.rcode.REFUSED,
    Fault.SERVFAIL: dns.rcode.SERVFAIL,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was put."""

    name: str
    kind: str
    over: str
    """``udp`` or ``tcp``."""


@dataclass(slots=True)
class Zone:
    """What the server says; may change while it runs. A name that is not there is NXDOMAIN."""

    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    ttls_s: dict[tuple[str, str], int] = field(default_factory=dict)
    """TTLs other than 60."""
    soa: str | None = "ns.test. hostmaster.test. 1 7200 900 1209600 30"
    """The SOA of negative answers (its TTL is 60); None = they have none."""
    follows: bool = True
    """Aliases are followed; False = the answer ends with the first, as a server without recursion does it."""
    asked: list[Asked] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    address: str = "127.0.0.1"
    port: int = 0
    _came: threading.Condition = field(default_factory=threading.Condition)
    _lost: dict[tuple[str, str], int] = field(default_factory=dict)
    _forged: set[tuple[str, str]] = field(default_factory=set)
    _held: dict[tuple[str, str], list[Callable[[], object]]] = field(default_factory=dict)

    def put(self, name: str, kind: str, answer: Answer, ttl_s: int = 60) -> None:
        place = _place(name, kind)
        self.answers[place] = answer
        self.ttls_s[place] = ttl_s

    def put_texts(self, texts: Mapping[str, str]) -> None:
        for name, value in texts.items():
            # Strings of at most 255 octets, as in every zone file.
            self.put(name, "TXT", [" ".join(f'"{value[at : at + 255]}"' for at in range(0, len(value), 255))])

    def lose(self, name: str, kind: str, count: int = 1) -> None:
        """Say nothing to the next ``count`` datagrams that ask this."""
        self._lost[_place(name, kind)] = count

    def forge(self, name: str, kind: str) -> None:
        """Send, before the answer, datagrams as an attacker would who cannot see the question."""
        self._forged.add(_place(name, kind))

    def hold(self, name: str, kind: str) -> None:
        """Keep answers to this until ``release``."""
        self._held[_place(name, kind)] = []

    def release(self, name: str, kind: str) -> None:
        for send in self._held.pop(_place(name, kind)):
            send()

    def wait_for(self, name: str, kind: str) -> None:
        """Block until this has been asked."""
        with self._came:
            assert self._came.wait_for(lambda: self.times(name, kind), timeout=30)

    def times(self, name: str, kind: str) -> int:
        """How often this was asked."""
        return sum((each.name, each.kind) == _place(name, kind) for each in self.asked)

    def over_udp(self, wire: bytes, send: Callable[[bytes], object]) -> None:
        query = self._checked(wire, "udp")
        if query is None:
            return
        place = _asked(query)
        if self._lost.get(place, 0) > 0:
            self._lost[place] -= 1
            return
        if place in self._forged:
            for forgery in _forgeries(query):
                send(forgery)
        answer = self._respond(query, _UDP_MAX)
        if answer is None:
            return
        if place in self._held:
            self._held[place].append(lambda: send(answer))
        else:
            send(answer)

    def over_tcp(self, wire: bytes) -> bytes:
        """What goes out, length and all, before the connection is closed."""
        query = self._checked(wire, "tcp")
        if query is None or (answer := self._respond(query, _TCP_MAX)) is None:
            return b""
        framed = struct.pack("!H", len(answer)) + answer
        return framed[: len(framed) // 2] if self.answers.get(_asked(query)) == Fault.CLOSED else framed

    def _checked(self, wire: bytes, over: str) -> dns.message.Message | None:
        try:
            query = dns.message.from_wire(wire)
        except dns.exception.DNSException as error:
            self.complaints.append(f"{over}: no question: {error!r}")
            return None
        rules = (
            (not query.flags & dns.flags.QR, "is an answer"),
            (bool(query.flags & dns.flags.RD), "does not ask for recursion"),
            (query.opcode() == dns.opcode.QUERY, "is no query"),
            (len(query.question) == 1, "has not one question"),
            (not query.answer and not query.authority, "comes with records"),
            (all(each.rdclass == dns.rdataclass.IN for each in query.question), "is not about the Internet"),
        )
        self.complaints.extend(f"{over}: {query.question} {why}" for kept, why in rules if not kept)
        if not all(kept for kept, _why in rules):
            return None
        with self._came:
            self.asked.append(Asked(*_asked(query), over))
            self._came.notify_all()
        return query

    def _respond(self, query: dns.message.Message, size_max: int) -> bytes | None:
        answer = self.answers.get(_asked(query))
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        if isinstance(answer, str):
            return _faulty(Fault(answer), response, size_max)
        if not self._fill(response, query.question[0]):
            response.set_rcode(dns.rcode.NXDOMAIN)
        if not any(records.rdtype == query.question[0].rdtype for records in response.answer) and self.soa is not None:
            response.authority.append(dns.rrset.from_text(".", 60, "IN", "SOA", self.soa))
        packed: bytes = response.to_wire(max_size=_TCP_MAX)
        return packed if len(packed) <= size_max else _truncated(response)

    def _fill(self, response: dns.message.Message, question: dns.rrset.RRset) -> bool:
        """Append the records and the aliases that lead there; whether the last name is there."""
        name, kind = question.name, question.rdtype.name
        for _ in range(_ALIASES_MAX):
            place = _place(name.to_text(), kind)
            alias = self.answers.get((place[0], "CNAME"))
            if alias and place not in self.answers:
                response.answer.append(self._records(name, "CNAME", alias))
                name = dns.name.from_text(alias[0])
                if self.follows:
                    continue
                return True
            if records := self.answers.get(place):
                response.answer.append(self._records(name, kind, records))
            return any(known == place[0] for known, _ in self.answers)
        return True

    def _records(self, name: dns.name.Name, kind: str, data: Sequence[str]) -> dns.rrset.RRset:
        ttl_s = self.ttls_s.get(_place(name.to_text(), kind), 60)
        return dns.rrset.from_text_list(name, ttl_s, "IN", kind, list(data))


def _place(name: str, kind: str) -> tuple[str, str]:
    return name.lower().rstrip("."), kind.upper()


def _asked(query: dns.message.Message) -> tuple[str, str]:
    question = query.question[0]
    return _place(question.name.to_text(), question.rdtype.name)


def _faulty(fault: Fault, response: dns.message.Message, size_max: int) -> bytes | None:
    question = response.question[0]
    elsewhere = dns.name.from_text("elsewhere.test")
    match fault:
        case Fault.SILENCE:
            return None
        case Fault.GARBAGE:
            return b"\xff" * 40
        case Fault.TRUNCATED:
            return _truncated(response)
        case Fault.CUT:
            response.answer = [dns.rrset.from_text(question.name, 60, "IN", *_SAMPLES[question.rdtype.name])]
            response.flags |= dns.flags.TC
        case Fault.CLOSED:
            return _truncated(response) if size_max == _UDP_MAX else response.to_wire()
        case Fault.WRONG_ID:
            response.id ^= 1
        case Fault.OTHER_QUESTION:
            response.question = [dns.rrset.RRset(elsewhere, question.rdclass, question.rdtype)]
        case Fault.OTHER_NAME:
            response.answer = [dns.rrset.from_text(elsewhere, 60, "IN", "A", "198.51.100.66")]
        case Fault.OTHER_TYPE:
            response.answer = [dns.rrset.from_text(question.name, 60, "IN", "TXT", '"no"')]
        case Fault.CONTRADICTION:
            response.set_rcode(dns.rcode.NXDOMAIN)
            response.answer = [dns.rrset.from_text(question.name, 60, "IN", *_SAMPLES[question.rdtype.name])]
        case Fault.REFERRAL:
            response.flags &= ~dns.flags.RA
            response.authority = [dns.rrset.from_text(".", 60, "IN", "NS", "a.root-servers.net.")]
        case _:
            response.set_rcode(_RCODES[fault])
    packed: bytes = response.to_wire()
    return packed


def _truncated(response: dns.message.Message) -> bytes:
    response.answer.clear()
    response.flags |= dns.flags.TC
    packed: bytes = response.to_wire()
    return packed


def _forgeries(query: dns.message.Message) -> list[bytes]:
    """No message, another id, another question: each with an answer that must not be believed."""
    forged = []
    for fault in (Fault.GARBAGE, Fault.WRONG_ID, Fault.OTHER_QUESTION):
        response = dns.message.make_response(query)
        response.answer = [dns.rrset.from_text(query.question[0].name, 60, "IN", "MX", "0 attacker.test.")]
        forged.append(_faulty(fault, response, _UDP_MAX) or b"")
    return forged


@contextlib.contextmanager
def dns_server() -> Iterator[Zone]:
    """Run one while the block runs, then fail if it had to complain."""
    zone = Zone()

    class OverUdp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, peer = self.request
            zone.over_udp(wire, lambda answer: peer.sendto(answer, self.client_address))

    class OverTcp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            if len(prefix := self.rfile.read(2)) == 2:  # otherwise it was given up
                self.wfile.write(zone.over_tcp(self.rfile.read(*struct.unpack("!H", prefix))))

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
    assert not zone.complaints, zone.complaints


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
