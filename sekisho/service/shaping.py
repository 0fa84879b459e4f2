"""The limits in force: the rows of the configuration as delivery knows them."""

from __future__ import annotations

from sekisho.delivery.routes import RouteTls
from sekisho.delivery.shaping import Shape, Shaping, ShapingRow
from sekisho.service import config as configuration


def shaping(delivery: configuration.Delivery, workers: int) -> Shaping:
    """Make the table for one of ``workers`` relay processes."""
    return Shaping([_row(row) for row in delivery.shaping], workers=workers)


def _row(row: configuration.Shaping) -> ShapingRow:
    shape = Shape(row.connections, row.rate_per_s, row.messages_per_connection, RouteTls(row.tls.value))
    return ShapingRow(row.mx, row.domain, shape)
