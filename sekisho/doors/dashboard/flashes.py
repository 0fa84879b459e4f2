"""What is said once after something was done: a closed table, since a cookie carries only its key."""

from __future__ import annotations

from typing import Final

from sekisho.languages import N_

FLASHES: Final[dict[str, str]] = {
    "app-added": N_("The authenticator app is set up."),
    "factor-removed": N_("It was removed."),
    "passkey-failed": N_("The passkey did not let you in. Try again, or log in with your password."),
    "passkey-added": N_("The passkey was added."),
    "recovery-used": N_("You used a recovery code. Set up anew what you have lost, and look how many codes are left."),
    "oidc-unlinked": N_("Nobody logs in as you through the other site any more."),
    "scopes-asked": N_("Whoever manages the account was asked."),
    "second-ended": N_("Too many wrong codes. Wait a quarter of an hour, then log in again."),
    "account-changed": N_("Your profile was changed."),
    "acting-ended": N_("You act for your own account again."),
    "email-asked": N_("A letter with a link is on its way to the new address."),
    "email-changed": N_("Your address was confirmed."),
    "invitation-withdrawn": N_("The invitation was withdrawn: its link opens nothing."),
    "ip-access-added": N_("The list lets them in from now on."),
    "ip-access-confirmed": N_("The list is confirmed, and stays."),
    "ip-access-removed": N_("They were taken off the list."),
    "ip-access-undone": N_("The list before it is in force again."),
    "key-changed": N_("The key was changed."),
    "key-compromised": N_("The key is revoked, and its mail is held. Make a new key for whoever used it."),
    "key-held": N_("The key is held, and its mail with it."),
    "key-mail-released": N_("Its mail may go out again."),
    "key-released": N_("The key works again, and its mail may go out."),
    "key-revoked": N_("The key was revoked."),
    "password-changed": N_("Your password was changed, and your other sessions were ended."),
    "scopes-denied": N_("The request was denied."),
    "scopes-given": N_("The scopes were given."),
    "session-ended": N_("The session was ended."),
    "sessions-ended": N_("All your other sessions were ended."),
    "signed-out": N_("You are logged out."),
    "stepped-up": N_("Thank you. You can go on."),
    "subuser-access": N_("Who may log in was changed."),
    "subuser-credits": N_("The credits were changed."),
    "subuser-deleted": N_("The subuser was deleted."),
    "subuser-disabled": N_("The subuser was disabled."),
    "subuser-enabled": N_("The subuser was enabled."),
    "subuser-made": N_("The subuser was made."),
    "teammate-changed": N_("The rights were changed."),
    "teammate-invited": N_("A letter with the invitation is on its way."),
    "teammate-removed": N_("The teammate was removed."),
}
"""Every module's author adds his own lines."""
