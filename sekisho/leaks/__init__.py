"""Keys that got into wrong hands: found in mail, reported by others, used as never before."""
