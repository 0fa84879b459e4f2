"""The operator's door: commands."""
