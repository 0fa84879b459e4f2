from __future__ import annotations

from dataclasses import fields

from sekisho.doors.smtp.bounds import Limits, table


def test_every_bound_is_in_the_table_with_a_reason() -> None:
    rows = {row.split("`")[1]: row for row in table().splitlines()[2:]}
    for bound in fields(Limits):
        cells = [cell.strip() for cell in rows[bound.name].strip("|").split("|")]
        assert len(cells) == 5
        assert cells[1] == f"{getattr(Limits(), bound.name):,}"
        assert cells[3]


def test_the_session_gets_its_part() -> None:
    limits = Limits(message_bytes=1, header_bytes=2, header_fields=3, recipients=4, messages=5, errors=6)
    session = limits.session()
    assert (session.content.size_bytes, session.content.header_bytes, session.content.header_fields) == (1, 2, 3)
    assert (session.recipients, session.messages, session.errors) == (4, 5, 6)
