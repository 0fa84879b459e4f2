"""SMTP, both sides, without I/O: bytes in, values out."""
