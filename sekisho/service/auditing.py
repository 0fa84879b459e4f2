"""What the audit log has beside the changes themselves, put together: signed heads, and refusals."""

from __future__ import annotations

from typing import Final

from sekisho import sealing
from sekisho.audit.keeper import HeadKeeper
from sekisho.audit.refusals import Refusals
from sekisho.audit.signed import Signer
from sekisho.db import Database
from sekisho.identity import Identity, IPAddress
from sekisho.refusal import Reason
from sekisho.service.config import Config
from sekisho.service.datadir import DataDir
from sekisho.service.periodic import Periodic

FLUSH_S: Final = 5.0


def head_keeper(config: Config, directory: DataDir, control: Database) -> HeadKeeper:
    """Make it; ``start`` it after the last fork. One process of a data directory is enough."""
    sealer = sealing.load(config.storage.master_key_file or directory.master_key, make=False)
    return HeadKeeper(control, Signer(sealer), directory.audit_heads)


def refusal_writer(refusals: Refusals) -> Periodic:
    """Write what a worker's door has refused, a minute at a time and at the end."""
    return Periodic("audit of refusals", refusals.flush, every_s=FLUSH_S, last=lambda: refusals.flush(everything=True))


def noted(refusals: Refusals, reason: Reason, address: IPAddress | None, identity: Identity | None) -> None:
    """Take note of a refusal; of a list of addresses it is in the log already (``ipaccess.activity``)."""
    if reason is Reason.AUTH_ADDRESS or reason in _OURS:
        return
    refusals.note(
        reason.value,
        None if address is None else str(address),
        owner_id=None if identity is None else identity.sender_id,
        key_id=None if identity is None else identity.key_id,
    )


_OURS: Final = frozenset({Reason.AUTH_UNAVAILABLE, Reason.STORAGE_FULL, Reason.STORAGE_UNAVAILABLE})
"""Not the client's doing, and nothing was decided about it."""
