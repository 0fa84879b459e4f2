"""The keeper of the audit log's signed heads, put together."""

from __future__ import annotations

from sekisho import sealing
from sekisho.audit.keeper import HeadKeeper
from sekisho.audit.signed import Signer
from sekisho.db import Database
from sekisho.service.config import Config
from sekisho.service.datadir import DataDir


def head_keeper(config: Config, directory: DataDir, control: Database) -> HeadKeeper:
    """Make it; ``start`` it after the last fork. One process of a data directory is enough."""
    sealer = sealing.load(config.storage.master_key_file or directory.master_key, make=False)
    return HeadKeeper(control, Signer(sealer), directory.audit_heads)
