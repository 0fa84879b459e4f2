"""Accounts that people open themselves."""
