"""Sekisho: a self-hosted, secure SMTP relay service."""

__version__ = "0.1.0"
