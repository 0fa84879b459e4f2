"""The SMTP submission door."""
