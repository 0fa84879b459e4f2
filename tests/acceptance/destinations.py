"""Where the letters of the crash rounds go: to one next hop, or to domains of several hosts that DNS tells of."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.acceptance.relay import letter
from tests.acceptance.site import Site
from tests.fakes.dnsserver import Zone, dns_server
from tests.fakes.sink import Letter, Sink

NEAR, SHARED, SPARE, GREY, DEAD = (f"127.0.0.{last}" for last in range(2, 7))
"""Each host has an address of its own; at the dead one nobody listens until the end."""
MX = {
    "plain.test": {"mx.plain.test": NEAR},
    "one.shared.test": {"mx1.shared.test": SHARED, "mx2.shared.test": SPARE},
    "two.shared.test": {"mx1.shared.test": SHARED, "mx2.shared.test": SPARE},
    "three.shared.test": {"mx1.shared.test": SHARED, "mx2.shared.test": SPARE},
    "bare.test": {"bare.test": NEAR},
    "backup.test": {"mx.dead.test": DEAD, "mx2.backup.test": SPARE},
    "grey.test": {"mx.grey.test": GREY},
    "dead.test": {"mx.dead.test": DEAD},
}
"""Hosts by domain, best first. Three domains share a set, one has no MX, and one is served by its second host."""
RETRIES = 'retry_first = "1s"\nretry_max = "2s"\n'
SHAPING = '[[delivery.shaping]]\nmx = "*"\nconnections = 3\n'


class Fussy:
    """The hosts' answers: ``later`` and all of a greylisting host are put off once, ``never`` is refused."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, verb: str, argument: str) -> str | None:
        if verb == "RCPT" and "never+" in argument:
            return "550 5.1.1 No such reader"
        if verb == "RCPT" and ("later+" in argument or "@grey.test" in argument) and argument not in self._seen:
            self._seen.add(argument)
            return "451 4.7.1 Later"
        return None


@dataclass
class Destinations:
    """Hosts that take letters, and which letters they are sent."""

    sinks: list[Sink]
    hosts: dict[str, set[str]]
    """Addresses that may be sent a domain's mail, by domain; a letter's number chooses among the domains."""
    lead: Callable[[Site], None]
    """Configure a site to deliver here."""
    revive: Callable[[], None] = lambda: None
    """Bring up what has been down so far."""

    def recipient(self, number: int) -> str:
        """Most are taken at once; some are put off at first, some refused for good."""
        kind = "never" if self.refuses(number) else "reader" if number % 7 else "later"
        return f"{kind}+{number}@{list(self.hosts)[number % len(self.hosts)]}"

    def refuses(self, number: int) -> bool:
        return number % 11 == 0

    def message(self, number: int) -> bytes:
        """Small, middling, and large enough for a body file of its own."""
        return letter(number, to=self.recipient(number), filler=(0, 3000, 300_000)[number % 3])

    def letters(self) -> list[Letter]:
        return [each for sink in self.sinks for each in sink.letters]

    def changed(self) -> list[str]:
        """Which letters did not arrive as they were sent."""
        return [str(each.sequence) for each in self.letters() if not self._unchanged(each)]

    def faults(self) -> list[str]:
        """Breaches of SMTP, and mail that was brought to a host of another domain."""
        strays = [
            f"mail for {recipient} at {sink.host}"
            for sink in self.sinks
            for each in sink.letters
            for recipient in each.recipients
            if sink.host not in self.hosts[recipient.partition("@")[2]]
        ]
        return [fault for sink in self.sinks for fault in sink.faults] + strays

    def _unchanged(self, arrival: Letter) -> bool:
        sent = self.message(arrival.sequence or 0)
        return arrival.data.partition(b"\r\n\r\n")[2] == sent.partition(b"\r\n\r\n")[2]


@contextlib.contextmanager
def by_route() -> Iterator[Destinations]:
    """One next hop for everything."""
    with Sink(answer=Fussy()) as sink:

        def lead(site: Site) -> None:
            site.delivery, site.sink_port = RETRIES, sink.port

        yield Destinations([sink], {"sink.test": {sink.host}}, lead)


@contextlib.contextmanager
def by_mx() -> Iterator[Destinations]:
    """Domains by DNS; what the dead host should have had waits until it is revived."""
    answer = Fussy()
    with dns_server() as zone, contextlib.ExitStack() as stack:
        _publish(zone)
        port = _port_free_on(NEAR, SHARED, SPARE, GREY, DEAD)
        sinks: list[Sink] = []

        def listen(host: str) -> None:
            sink = Sink(host=host, answer=answer)
            sink.port = port
            sinks.append(stack.enter_context(sink))

        def lead(site: Site) -> None:
            site.routes = ""
            site.delivery = f'{RETRIES}mode = "mx"\nmx_port = {port}\nallow_private_networks = true\n'
            site.tables = f'[dns]\nnameservers = ["{zone.address}:{zone.port}"]\ntimeout = "2s"\n{SHAPING}'

        for host in (NEAR, SHARED, SPARE, GREY):
            listen(host)
        hosts = {domain: set(exchangers.values()) for domain, exchangers in MX.items()}
        yield Destinations(sinks, hosts, lead, revive=lambda: listen(DEAD))


def _publish(zone: Zone) -> None:
    for domain, exchangers in MX.items():
        others = [host for host in exchangers if host != domain]
        zone.put(domain, "MX", [f"{10 * rank} {host}." for rank, host in enumerate(others, 1)])
        for host, address in exchangers.items():
            zone.put(host, "A", [address])
            zone.put(host, "AAAA", [])


def _port_free_on(*hosts: str) -> int:
    """A port that is free on each of them; MX hosts are all asked at the same one."""
    for _ in range(50):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            port = 0
            for host in hosts:
                port = stack.enter_context(socket.create_server((host, port))).getsockname()[1]
            return port
    message = "no port is free on all hosts"
    raise RuntimeError(message)
