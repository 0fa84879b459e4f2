"""What owners are told: that a key leaked, that somebody used a canary, that a message is held."""

from sekisho.notices.log import Kind, Notice, erase, listing, notice, tell

__all__ = ["Kind", "Notice", "erase", "listing", "notice", "tell"]
