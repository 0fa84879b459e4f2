"""Where mail goes that no route leads anywhere: DNS, as the configuration says to ask it."""

from __future__ import annotations

import random

import structlog

from sekisho.delivery.sites import Sites
from sekisho.ports.clock import Clock
from sekisho.ports.dns import Resolver, ResolverUnusable
from sekisho.service.config import Config, DeliveryMode

_log = structlog.get_logger()


def sites(config: Config, clock: Clock) -> Sites | None:
    """Make what finds the hosts of a domain; None when nothing is to be found by DNS.

    A machine without any resolver may have routes for all it sends: what has none is deferred there, and said so.
    """
    delivery, dns = config.delivery, config.dns
    if delivery.mode is DeliveryMode.CAPTURE:
        return None
    try:
        resolver = Resolver([(str(server.address), server.port) for server in dns.nameservers], dns.timeout_s)
    except ResolverUnusable as problem:
        _log.warning("dns.unusable", reason=str(problem))
        return None
    return Sites(
        resolver,
        port=delivery.mx_port,
        allow_private=delivery.allow_private_networks,
        chance=random.random,
        clock=clock,
    )
