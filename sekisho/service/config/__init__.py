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
    NewAccounts,
    Oidc,
    Purpose,
    Route,
    RouteTls,
    Server,
    Shaping,
    Signup,
    Smtp,
    Storage,
    Tls,
    TlsVersion,
)
from sekisho.service.config.network import Endpoint
from sekisho.service.config.reference import reference
from sekisho.service.config.reload import in_force
from sekisho.service.config.source import Source, gather, load, parse
from sekisho.service.config.values import ConfigError

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
    "NewAccounts",
    "Oidc",
    "Purpose",
    "Route",
    "RouteTls",
    "Server",
    "Shaping",
    "Signup",
    "Smtp",
    "Source",
    "Storage",
    "Tls",
    "TlsVersion",
    "gather",
    "in_force",
    "load",
    "parse",
    "reference",
]
