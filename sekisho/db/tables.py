"""The two sets of tables, and what their definitions share."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

# Constraints have names of their own, so that a migration can speak of them on every engine.
_NAMING: Final = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}

control: Final = sa.MetaData(naming_convention=_NAMING)
"""Accounts, keys, domains, audit, change feed."""

events: Final = sa.MetaData(naming_convention=_NAMING)
"""Events, day counters, the mover's position."""

ROW_ID: Final = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""Type of a numbered primary key: SQLite numbers rows by itself only under the name INTEGER."""
