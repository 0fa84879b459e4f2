"""The id that an answer and its log line share."""

from __future__ import annotations

import secrets


def new_request_id() -> str:
    """Make one; a client's own is never taken."""
    return secrets.token_hex(8)
