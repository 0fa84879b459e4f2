"""Second factors: authenticator apps, passkeys, and the recovery codes that lead back to one."""

from sekisho.factors.actions import (
    NAME_MAX,
    PASSKEYS_MAX,
    add_passkey,
    begin_totp,
    confirm_totp,
    erase,
    remove_passkey,
    remove_totp,
    renew_recovery,
    reset,
    use_passkey,
    use_recovery,
    use_totp,
)
from sekisho.factors.passkeys import Asked, RelyingParty, ask_to_make, ask_to_show, relying_party
from sekisho.factors.reading import Enrolled, Passkey, enrolled, passkeys_of, pending_totp, totp_since
from sekisho.factors.totp import qr_code, uri

__all__ = [
    "NAME_MAX",
    "PASSKEYS_MAX",
    "Asked",
    "Enrolled",
    "Passkey",
    "RelyingParty",
    "add_passkey",
    "ask_to_make",
    "ask_to_show",
    "begin_totp",
    "confirm_totp",
    "enrolled",
    "erase",
    "passkeys_of",
    "pending_totp",
    "qr_code",
    "relying_party",
    "remove_passkey",
    "remove_totp",
    "renew_recovery",
    "reset",
    "totp_since",
    "uri",
    "use_passkey",
    "use_recovery",
    "use_totp",
]
