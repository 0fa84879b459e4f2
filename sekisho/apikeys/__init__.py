"""Credentials of programs: what a key may do, who writes keys, and how one becomes an Identity."""
