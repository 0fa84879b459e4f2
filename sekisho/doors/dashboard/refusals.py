"""What an action that was declined is called on a page: one sentence for each reason that pages can meet."""

from __future__ import annotations

from typing import Final

from sekisho.languages import N_
from sekisho.refusal import Declined, Obstacle

OTHERWISE: Final = N_("This was not done. Go back, reload the page, try again.")

_TEXTS: Final[dict[Obstacle, str]] = {
    Obstacle.ACCOUNT_MALFORMED: N_(
        "A name has 1 to 64 of the characters A-Z a-z 0-9 . _ @ + - and begins with a letter or a digit."
    ),
    Obstacle.ACCOUNT_TAKEN: N_("This name is taken. Choose another one."),
    Obstacle.USERNAME_MALFORMED: N_(
        "A name has 1 to 64 of the characters A-Z a-z 0-9 . _ @ + - and begins with a letter or a digit."
    ),
    Obstacle.USERNAME_TAKEN: N_("This name is taken. Choose another one."),
    Obstacle.EMAIL_MALFORMED: N_("This is not an e-mail address such as ann@example.com."),
    Obstacle.SUBUSER_UNKNOWN: N_("Name one or more subusers of the account, each by its whole name."),
    Obstacle.TEAMMATE_TAKEN: N_("This person is a teammate, or is invited, already."),
    Obstacle.TEAMMATE_OUT_OF_REACH: N_(
        "Nobody changes or removes the owner, himself, or somebody who may do more than he."
    ),
    Obstacle.TEAMMATES_TOO_MANY: N_("There are as many teammates as there can be. Remove one first."),
    Obstacle.RIGHTS_MALFORMED: N_("Choose one of the ways to give rights."),
    Obstacle.INVITATIONS_TOO_MANY: N_("Too many invitations were sent within a day. Go on tomorrow."),
    Obstacle.SUBUSERS_TOO_MANY: N_("The account has as many subusers as it can have. Delete one first."),
    Obstacle.CREDITS_UNLIMITED: N_("The credits are unlimited, so there is nothing to add to."),
    Obstacle.KEYS_TOO_MANY: N_("There are as many keys as there can be. Revoke one first."),
    Obstacle.KEY_MALFORMED: N_("A key's name has 1 to 200 printable characters."),
    Obstacle.KEY_OUT_OF_REACH: N_("This key may do more than you, so you cannot change it."),
    Obstacle.KEY_NOT_STOPPED: N_("Only the mail of a compromised or held key can be dropped."),
    Obstacle.SCOPE_UNKNOWN: N_("Choose scopes from the list."),
    Obstacle.SCOPE_UNASSIGNABLE: N_("You cannot give a scope that you do not have yourself."),
    Obstacle.POLICY_UNASSIGNABLE: N_("You cannot give less strict limits than your own."),
    Obstacle.ACCESS_RULE_UNKNOWN: N_("One of these addresses is not on the list any more. Look at it again."),
    Obstacle.ACCESS_RULE_MALFORMED: N_(
        "Write one address or network on each line, such as 192.0.2.7, 192.0.2.0/24, 192.0.2.* or 2001:db8::/32."
    ),
    Obstacle.ACCESS_RULES_TOO_MANY: N_("A list holds 1,000 addresses at most. Networks take less room."),
    Obstacle.ACCESS_EXCLUDES_CALLER: N_("Your own address is not on the list."),
    Obstacle.ACCESS_NOT_PENDING: N_("There is no change to confirm or to undo: it stands, or it was undone."),
}


def sentence(declined: Declined) -> str:
    """Give the English sentence of the catalogue for a reason."""
    return _TEXTS.get(declined.obstacle, OTHERWISE)
