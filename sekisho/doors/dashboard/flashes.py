"""What is said once after something was done: a closed table, since a cookie carries only its key."""

from __future__ import annotations

from typing import Final

from sekisho.languages import N_

FLASHES: Final[dict[str, str]] = {
    "acting-ended": N_("You act for your own account again."),
    "session-ended": N_("The session was ended."),
    "sessions-ended": N_("All your other sessions were ended."),
    "signed-out": N_("You are logged out."),
    "stepped-up": N_("Thank you. You can go on."),
}
"""Every module's author adds his own lines."""
