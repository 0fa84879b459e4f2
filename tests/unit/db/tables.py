"""Two small tables for tests of the engine."""

from __future__ import annotations

import sqlalchemy as sa

from sekisho import db

METADATA = sa.MetaData()
PARENT = sa.Table("parent", METADATA, sa.Column("id", db.ROW_ID, primary_key=True))
CHILD = sa.Table("child", METADATA, sa.Column("parent_id", sa.ForeignKey("parent.id"), nullable=False))
