"""What supervisor and worker say to each other: one JSON object a line over a socket pair.

The supervisor never trusts a worker's line further than its type: a worker talks to the network, and may have been
taken over.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from sekisho.secret import Secret
from sekisho.service.certificates import Certificate
from sekisho.service.config import Source

LINE_MAX_BYTES: Final = 8 << 20
"""Room for a configuration file, passwords and a certificate chain at their own bounds."""

WORKER_LINE_MAX_BYTES: Final = 4096

WORKERS_SHARE: Final = 0.8
"""Of ``server.drain_s``: what workers get, so that they end by themselves before the supervisor ends them."""


class Ready(msgspec.Struct, tag="ready", frozen=True):
    """Worker → supervisor: the doors are open."""


class Drain(msgspec.Struct, tag="drain", frozen=True):
    """Supervisor → worker: stop accepting, finish what is open within ``deadline_s``, exit 0."""

    deadline_s: float


class _WireReload(msgspec.Struct, tag="reload", frozen=True):
    text: str
    name: str
    base: str
    environ: dict[str, str]
    data_dir: str | None
    passwords: list[str | None]
    client_secret: str | None
    chain_pem: str
    key_pem: str
    names: list[str]
    not_before_ms: int
    not_after_ms: int
    self_signed: bool


@dataclass(frozen=True, slots=True)
class Reload:
    """Supervisor → worker: the configuration was read again, and the certificate with it."""

    source: Source
    certificate: Certificate


Order: TypeAlias = Drain | Reload

_encoder: Final = msgspec.json.Encoder()
_READY: Final = _encoder.encode(Ready())
_orders: Final = msgspec.json.Decoder(Drain | _WireReload)


def encode_ready() -> bytes:
    return _READY + b"\n"


def is_ready(line: bytes) -> bool:
    """Whether a worker's line says that it is ready; anything else says nothing."""
    return line == _READY


def encode_order(order: Order) -> bytes:
    """One line for a worker. It may hold secrets: it goes to the worker's socket and nowhere else."""
    if isinstance(order, Drain):
        return _encoder.encode(order) + b"\n"
    source, certificate = order.source, order.certificate
    wire = _WireReload(
        text=source.text,
        name=source.name,
        base=str(source.base),
        environ=dict(source.environ),
        data_dir=None if source.data_dir is None else str(source.data_dir),
        passwords=[None if secret is None else secret.reveal() for secret in source.passwords],
        client_secret=None if source.client_secret is None else source.client_secret.reveal(),
        chain_pem=base64.b64encode(certificate.chain_pem).decode(),
        key_pem=base64.b64encode(certificate.key_pem.reveal()).decode(),
        names=list(certificate.names),
        not_before_ms=certificate.not_before_ms,
        not_after_ms=certificate.not_after_ms,
        self_signed=certificate.self_signed,
    )
    return _encoder.encode(wire) + b"\n"


def decode_order(line: bytes) -> Order:
    """Read a supervisor's line; a malformed one is a fault of ours (msgspec.DecodeError)."""
    wire = _orders.decode(line)
    if isinstance(wire, Drain):
        return wire
    return Reload(
        source=Source(
            text=wire.text,
            name=wire.name,
            base=Path(wire.base),
            environ=wire.environ,
            data_dir=None if wire.data_dir is None else Path(wire.data_dir),
            passwords=tuple(None if secret is None else Secret(secret) for secret in wire.passwords),
            client_secret=None if wire.client_secret is None else Secret(wire.client_secret),
        ),
        certificate=Certificate(
            chain_pem=base64.b64decode(wire.chain_pem),
            key_pem=Secret(base64.b64decode(wire.key_pem)),
            names=tuple(wire.names),
            not_before_ms=wire.not_before_ms,
            not_after_ms=wire.not_after_ms,
            self_signed=wire.self_signed,
        ),
    )
