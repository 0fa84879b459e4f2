from __future__ import annotations

import errno
import socket

import pytest

from sekisho.service import sockets
from sekisho.service.config import Listener, ListenerTls
from sekisho.service.config.network import parse_endpoint
from sekisho.service.sockets import BindProblem, bind, has_ipv6

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here")


def listener(address: str, tls: ListenerTls = ListenerTls.STARTTLS) -> Listener:
    return Listener(address=parse_endpoint(address), tls=tls)


def test_every_worker_gets_a_socket_of_its_own_on_the_same_ports() -> None:
    doors = [listener("127.0.0.1:0"), listener("127.0.0.1:0", ListenerTls.IMPLICIT)]
    bound, skipped = bind(doors, 3, parse_endpoint("127.0.0.1:0"))
    try:
        assert skipped == ()
        assert len(bound.relays) == 3
        ports = {tuple(one.address.port for one in row) for row in bound.relays}
        assert len(ports) == 1
        assert all(port > 0 for port in ports.pop())
        assert [one.tls for one in bound.smtp] == [ListenerTls.STARTTLS, ListenerTls.IMPLICIT]
        assert len({one.socket.fileno() for row in bound.relays for one in row}) == 6
        assert bound.http_address is not None
        assert bound.http_address.port > 0
    finally:
        bound.close()


def test_a_role_that_does_not_run_binds_nothing() -> None:
    bound, _ = bind([listener("127.0.0.1:0")], 0, None)
    assert (bound.relays, bound.http, bound.smtp) == ((), None, ())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_another_listens_on_is_refused_by_name_even_if_it_would_share(workers: int) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(BindProblem, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use"):
            bind([listener("127.0.0.1:0"), listener(f"127.0.0.1:{port}")], workers, None)


@needs_ipv6
def test_both_families_share_a_port() -> None:
    bound, _ = bind([listener("0.0.0.0:0")], 1, None)
    port = bound.smtp[0].address.port
    try:
        second, _ = bind([listener(f"[::]:{port}")], 1, None)
        second.close()
    finally:
        bound.close()


def test_a_wildcard_without_ipv6_is_left_out_when_its_twin_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "has_ipv6", lambda: False)
    bound, skipped = bind([listener("[::]:0"), listener("0.0.0.0:0")], 1, None)
    try:
        assert skipped == ("[::]:0",)
        assert [one.address.address.version for one in bound.smtp] == [4]
    finally:
        bound.close()


def test_a_low_port_without_root_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    denied = PermissionError(errno.EACCES, "Permission denied")
    assert "need root" in sockets._why(denied, parse_endpoint("0.0.0.0:25"))
    assert sockets._why(denied, parse_endpoint("0.0.0.0:2525")) == "Permission denied"


def test_trying_out_leaves_nothing_behind() -> None:
    bound, _ = bind([listener("127.0.0.1:0")], 1, None)
    address = bound.smtp[0].address
    with pytest.raises(BindProblem):
        sockets.try_out(address)
    bound.close()
    sockets.try_out(address)
    sockets.try_out(address)
