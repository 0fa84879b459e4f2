"""What one key alone cannot tell: keys that need or exclude one another, and paths made absolute."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from sekisho.secret import Secret
from sekisho.service.config.model import Config, Listener, Route, RouteTls
from sekisho.service.config.values import ConfigError


def finish(
    config: Config, base: Path, passwords: tuple[Secret[str] | None, ...], client_secret: Secret[str] | None
) -> Config:
    """Check keys against one another, and fill in what follows from others; raises ConfigError.

    ``base`` is where relative paths count from, ``passwords`` are the routes' and ``client_secret`` is [oidc]'s, where
    they are known.
    """
    server, storage, tls = config.server, config.storage, config.tls
    if (tls.certificate_file is None) != (tls.private_key_file is None):
        missing = "tls.private_key_file" if tls.private_key_file is None else "tls.certificate_file"
        raise ConfigError(missing, "must be set: certificate and private key come together")
    if config.delivery.retry_first_s > config.delivery.retry_max_s:
        raise ConfigError(key="delivery.retry_first", reason="must not be longer than delivery.retry_max")
    if not config.http.address.address.is_loopback and not config.http.tls and not config.http.trusted_proxies:
        raise ConfigError(key="http.address", reason="is not loopback: set http.tls or http.trusted_proxies")
    if config.oidc.issuer and not config.oidc.client_id:
        raise ConfigError(key="oidc.client_id", reason="is missing: issuer needs it")
    _check_listeners(config.smtp.listeners)
    for position, row in enumerate(config.delivery.shaping):
        if not row.mx and not row.domain:
            raise ConfigError(key=f"delivery.shaping[{position}]", reason='must name mx or domain ("*" = everything)')
    routes = tuple(
        _finish_route(route, f"delivery.routes[{position}]", base, passwords[position] if passwords else None)
        for position, route in enumerate(config.delivery.routes)
    )
    return dataclasses.replace(
        config,
        server=dataclasses.replace(
            server,
            data_dir=_absolute(base, server.data_dir),
            public_url=server.public_url or f"https://{server.hostname}",
        ),
        storage=dataclasses.replace(storage, master_key_file=_absolute_or_none(base, storage.master_key_file)),
        tls=dataclasses.replace(
            tls,
            certificate_file=_absolute_or_none(base, tls.certificate_file),
            private_key_file=_absolute_or_none(base, tls.private_key_file),
        ),
        delivery=dataclasses.replace(config.delivery, routes=routes),
        oidc=dataclasses.replace(
            config.oidc,
            client_secret_file=_absolute_or_none(base, config.oidc.client_secret_file),
            client_secret=client_secret,
        ),
    )


def _check_listeners(listeners: tuple[Listener, ...]) -> None:
    if not listeners:
        raise ConfigError(
            key="smtp.listeners", reason="must name at least one listener (leave it out for the defaults)"
        )
    seen: set[str] = set()
    for position, listener in enumerate(listeners):
        address = str(listener.address)
        if listener.address.port and address in seen:
            raise ConfigError(key=f"smtp.listeners[{position}].address", reason=f"{address} is listed twice")
        seen.add(address)


def _finish_route(route: Route, at: str, base: Path, password: Secret[str] | None) -> Route:
    if route.username and route.password_file is None:
        raise ConfigError(key=f"{at}.password_file", reason="is missing: username needs it")
    if route.password_file is not None and not route.username:
        raise ConfigError(key=f"{at}.username", reason="is missing: password_file needs it")
    if route.username and route.tls is not RouteTls.REQUIRED:
        raise ConfigError(key=f"{at}.tls", reason='must be "required": a password only travels over verified TLS')
    return dataclasses.replace(route, password_file=_absolute_or_none(base, route.password_file), password=password)


def _absolute(base: Path, path: Path) -> Path:
    return base / path


def _absolute_or_none(base: Path, path: Path | None) -> Path | None:
    return None if path is None else base / path
