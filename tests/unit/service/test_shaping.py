from __future__ import annotations

from pathlib import Path

from sekisho.delivery.routes import RouteTls, Target
from sekisho.delivery.shaping import Shape
from sekisho.service.config import Source, parse
from sekisho.service.shaping import shaping

TEXT = """
[[delivery.shaping]]
mx = "mx.example"
connections = 10
rate = "90/m"
messages_per_connection = 20
tls = "required"
"""


def test_rows_become_the_table_of_one_worker() -> None:
    table = shaping(parse(Source(TEXT, "", Path("/"), {}, None)).delivery, 3)
    hop = Target("mx.example", 25, RouteTls.OFF)
    assert table.find(hop, "a.example") == Shape(3, 0.5, 20, RouteTls.REQUIRED)
    assert table.find(Target("other.example", 25, RouteTls.OFF), "a.example") == Shape().part(3)


def test_the_defaults_of_a_row_are_those_without_any() -> None:
    (row,) = parse(Source('[[delivery.shaping]]\ndomain = "*"', "", Path("/"), {}, None)).delivery.shaping
    assert Shape(row.connections, row.rate_per_s, row.messages_per_connection, RouteTls(row.tls.value)) == Shape()
