"""What all tests share: Hypothesis without a clock, since a busy machine is no bug."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("sekisho", deadline=None, print_blob=True)
settings.load_profile("sekisho")
