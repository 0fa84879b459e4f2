"""What owners are told: that a key leaked or a canary was used, that a message is held, that a teammate is gone."""

from sekisho.notices.log import Kind, Notice, erase, listing, notice, tell

__all__ = ["Kind", "Notice", "erase", "listing", "notice", "tell"]
