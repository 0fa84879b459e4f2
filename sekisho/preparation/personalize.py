"""What differs per recipient: today the To header of X-SMTPAPI ``to`` copies."""

from __future__ import annotations

from sekisho.wire.mail import headers


def header_for(header: bytes, personal_to: str) -> bytes:
    """Give the header block of one recipient's copy: To names that recipient only (vendor sheet smtp.md §7).

    ``personal_to`` is ASCII and was printed by us; ``""`` means the common header. Bytes of all other fields stay.
    """
    if not personal_to:
        return header
    fields = headers.parse(header)
    if isinstance(fields, headers.HeaderFault):
        message = "a stored header block was valid when it was accepted"
        raise TypeError(message)
    to = headers.format_field(b"To", personal_to.encode("ascii"))
    if not any(field.name == b"to" for field in fields):
        return header + to
    return b"".join(to if field.name == b"to" else field.raw for field in fields)
