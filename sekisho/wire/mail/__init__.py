"""Addresses and header blocks (RFC 5322)."""
