"""The configuration: one frozen, typed value, read once from a TOML file and the environment."""

from __future__ import annotations

from sekisho.service.config.model import (
    Config,
    Delivery,
    DeliveryMode,
    Dns,
    Http,
    Listener,
    ListenerTls,
    LogLevel,
    Purpose,
    Route,
    RouteTls,
    Server,
    Smtp,
    Storage,
    Tls,
    TlsVersion,
)
from sekisho.service.config.network import Endpoint
from sekisho.service.config.read import ConfigError, load
from sekisho.service.config.reference import reference

__all__ = [
    "Config",
    "ConfigError",
    "Delivery",
    "DeliveryMode",
    "Dns",
    "Endpoint",
    "Http",
    "Listener",
    "ListenerTls",
    "LogLevel",
    "Purpose",
    "Route",
    "RouteTls",
    "Server",
    "Smtp",
    "Storage",
    "Tls",
    "TlsVersion",
    "load",
    "reference",
]
