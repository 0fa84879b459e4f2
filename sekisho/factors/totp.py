"""Time-based one-time passwords (RFC 6238), as every authenticator app makes them: SHA-1, six digits, 30 seconds."""

from __future__ import annotations

import hmac
from typing import Final

import pyotp
import segno

from sekisho.secret import Secret

DIGITS: Final = 6
STEP_S: Final = 30
DRIFT_STEPS: Final = 1
"""Before and after the server's own step: what RFC 6238 §5.2 allows for clocks and slow fingers."""

_MODULE_PX: Final = 4


def new_secret() -> Secret[str]:
    """Make a shared secret in Base32: 160 bits, as RFC 4226 §4 (R6) recommends."""
    return Secret(pyotp.random_base32())


def uri(secret: Secret[str], *, issuer: str, name: str) -> Secret[str]:
    """Write what an app reads from the QR code; ``issuer`` and ``name`` are how it labels the entry."""
    return Secret(pyotp.TOTP(secret.reveal(), name=name, issuer=issuer).provisioning_uri())


def qr_code(of: Secret[str]) -> Secret[str]:
    """Draw it as a ``data:`` URI of an SVG image: on white, whatever the page is on."""
    return Secret(segno.make(of.reveal(), error="m").svg_data_uri(scale=_MODULE_PX, light="#fff"))


def step_at(now_ms: int) -> int:
    return now_ms // (STEP_S * 1000)


def matching_step(secret: Secret[str], code: str, *, now_ms: int) -> int | None:
    """Tell of which time step a typed code is, None of none that is near.

    Of two steps with the same code it is the later one: using that up leaves neither.
    """
    typed = "".join(code.split())
    if len(typed) != DIGITS or not (typed.isascii() and typed.isdecimal()):
        return None
    codes = pyotp.TOTP(secret.reveal(), digits=DIGITS, interval=STEP_S)
    here = step_at(now_ms)
    found = None
    # All of them, whichever it is: the time taken tells nothing.
    for step in range(here - DRIFT_STEPS, here + DRIFT_STEPS + 1):
        if hmac.compare_digest(codes.generate_otp(step), typed):
            found = step
    return found
