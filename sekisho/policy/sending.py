"""May this go out? Scope, sender and recipients: facts in, a verdict out."""

from __future__ import annotations

from sekisho.apikeys.scopes import MAIL_SEND
from sekisho.domains import SigningDomain
from sekisho.identity import Identity
from sekisho.refusal import Reason, Refused
from sekisho.wire.mail.address import Mailbox, is_local_name, routes_in_local_part


def may_send(identity: Identity) -> Refused | None:
    """Judge whether this pass sends mail at all."""
    return None if MAIL_SEND in identity.scopes else Refused(Reason.AUTH_UNSCOPED, f"the key lacks {MAIL_SEND}")


def may_use_from(identity: Identity, sender: Mailbox, signing: SigningDomain | None) -> Refused | None:
    """Judge the header From; ``signing`` is what the sender's domains say about exactly its domain.

    Equal names only: that DMARC's relaxed alignment would let a sub-domain pass does not make it the sender's.
    """
    if signing is None or signing.domain != sender.domain:
        return Refused(Reason.FROM_UNVERIFIED, sender.domain)
    policy = identity.policy
    if policy.from_domains and sender.domain not in policy.from_domains:
        return Refused(Reason.FROM_NOT_ALLOWED, f"this key may not send from {sender.domain}")
    # Whether two spellings of a local part are one mailbox is its host's affair (RFC 5321 §2.4): equal texts only.
    if policy.from_addresses and str(sender) not in policy.from_addresses:
        return Refused(Reason.FROM_NOT_ALLOWED, f"this key may not send from {sender}")
    return None


def may_mail(identity: Identity, recipient: Mailbox, already: int) -> Refused | None:
    """Judge one more recipient beside ``already`` others of the same message; the doors have limits of their own."""
    # Whatever the routes: mail to the machine itself or to an address is how a relay is turned on its own network.
    if is_local_name(recipient.domain):
        return Refused(Reason.RECIPIENT_LITERAL, recipient.domain)
    # The oldest of the relaying tricks: a host further on may take the quotes off and send to the inner address.
    if routes_in_local_part(recipient.local):
        return Refused(Reason.RECIPIENT_MALFORMED, "an address inside the local part")
    most = identity.policy.max_recipients
    if most is not None and already >= most:
        return Refused(Reason.RECIPIENTS_TOO_MANY, f"this key may address {most} recipients per message")
    return None
