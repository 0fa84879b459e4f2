"""What receivers write when they refuse: a table of phrases, each with whom it is about.

Data for ``sekisho.delivery.answers``. Phrases are lower case, and are looked for in a reply as one line, code and
enhanced status included. Those about us stand before those about the recipient: a refusal that speaks of both is ours,
since a wrong suppression loses mail for ever and a wrong block costs one attempt. Each phrase has an answer that it
decides in ``tests/unit/delivery/answerbook.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

from sekisho.queue.model import BounceType, Classification

_US, _RECIPIENT = BounceType.BLOCKED, BounceType.BOUNCE


@dataclass(frozen=True, slots=True)
class Wordings:
    """Phrases that mean the same."""

    type: BounceType
    classification: Classification
    phrases: tuple[str, ...]


WORDINGS: tuple[Wordings, ...] = (
    Wordings(
        _US,
        Classification.FREQUENCY,
        (
            "frequency limited",  # QQ
            "mail flow limit",
            "rate limit",
            "rate-limit",
            "receiving mail at a rate that",  # Gmail, of a mailbox that gets too much
            "receiving mail too quickly",  # the same
            "sending limit exceeded",
            "throttl",
            "too many connections",
            "too many messages",
            "too many recipients",
            "unexpected volume or user complaints",  # Yahoo TSS04
            "unusual rate",  # Gmail
        ),
    ),
    Wordings(
        _US,
        Classification.REPUTATION,
        (
            "[ph01]",  # Yahoo: authentication of the From domain
            "authentication level",  # Outlook 5.7.515
            "bad reputation",
            "banned send",  # Outlook 5.7.511, 5.7.606 ff.
            "barracuda reputation",
            "black list",
            "blacklist",
            "blocked - see http",  # Proofpoint, also for Apple
            "blocked using",
            "blocklist",
            "block list",  # Outlook S3140, S3150
            "client host rejected",
            "dkim",
            "dmarc",
            "dnsbl",
            "graylist",
            "greylist",
            "helo command rejected",
            "in rbl",
            "ip=",  # T-Online: "IP=192.0.2.1 - A problem occurred"
            "is sending spam",
            "is listed",
            "listed at ",
            "listed by ",
            "low reputation",
            "no reverse dns",
            "poor reputation",
            "ptr record",
            "reverse dns",
            "rejected due to local policy",  # Apple CS01
            "sender address rejected",
            "sender is unauthenticated",  # Gmail 5.7.26
            "sender rejected",
            "sender verify failed",  # Exim
            "sender verification failed",
            "spamcop",
            "spamhaus",
            "spf",
            "surbl",
            "traffic not accepted from this ip",  # Outlook 5.7.708
            "unauthenticated email",  # Gmail
            "weren't sent",  # Outlook: "Unfortunately, messages from [192.0.2.1] weren't sent"
        ),
    ),
    Wordings(
        _US,
        Classification.CONTENT,
        (
            "as spam",
            "content denied",  # QQ
            "content rejected",
            "dt:spm",  # 163.com
            "considered spam",
            "junk mail",
            "junkmail",
            "likely spam",
            "likely suspicious",  # Gmail
            "looks like spam",
            "malware",
            "mcspamsignature",  # Mimecast
            "message size limit",
            "message too large",
            "phish",
            "potential security issue",  # Gmail, of attachments
            "size exceeds",
            "spam abuse",
            "spam content",
            "spam detected",
            "spam filter",
            "spam message",
            "spam or virus",
            "spam points",  # Exim with SpamAssassin
            "spam score",
            "suspicion of spam",  # Yandex
            "unsolicited",
            "virus",
        ),
    ),
    Wordings(
        _US,
        Classification.UNCLASSIFIED,
        (
            "administrative prohibition",  # Exim, Mimecast
            "due to policy",  # GMX, web.de
            "is not allowed to send",
            "local policy violation",
            "not accepted for policy reasons",
            "not authorized to send",
            "policy that prohibited",  # Gmail
            "policy violation",
            "security polic",
            "sendernotauthenticated",  # Exchange, groups that take mail from inside only
            "service refus",  # Orange: "service refused", "Service refuse"
            "violates our policy",
        ),
    ),
    Wordings(
        _US,
        Classification.TECHNICAL,
        (
            "authentication required",
            "callout verification",  # Exim asks the sender's host
            "could not verify sender",
            "dns error",
            "domain of sender address",  # Sendmail 5.1.8
            "domain isn't in my list",  # qmail, of a wrong MX
            "internal error",
            "internal server error",
            "loop detected",
            "mail loop",
            "invalid helo name",
            "not permitted to relay",
            "relay access denied",
            "relay not permitted",
            "relaying denied",
            "relaying not allowed",
            "sender domain",
            "starttls",
            "system error",
            "timed out",
            "timeout",
            "too many hops",
            "unable to relay",
        ),
    ),
    Wordings(
        _US,
        Classification.MAILBOX_UNAVAILABLE,
        (
            "exceeded storage",
            "exceeds quota",
            "is full",
            "mailbox full",
            "mailbox size limit",
            "out of storage",  # Gmail
            "over quota",
            "overquota",
            "quota exceeded",
            "quotaexceeded",  # Exchange
        ),
    ),
    Wordings(  # Whatever it is: of the sender's address, not of the recipient's.
        _US,
        Classification.UNCLASSIFIED,
        (
            "from address",
            "mail from",
            "sender",
        ),
    ),
    Wordings(  # A host that means "not now" and says 5xx: not obeyed, but nothing to remember of an address.
        _US,
        Classification.TECHNICAL,
        (
            "temporar",
            "try again later",
        ),
    ),
    Wordings(
        _RECIPIENT,
        Classification.MAILBOX_UNAVAILABLE,
        (
            "account has been disabled",
            "account inactive",
            "account is disabled",
            "account that you tried to reach is disabled",  # Gmail 5.2.1
            "account that you tried to reach is inactive",  # the same
            "mailbox disabled",
            "mailbox is disabled",  # Yahoo 554.30
            "mailbox is inactive",
            "user disabled",
        ),
    ),
    Wordings(
        _RECIPIENT,
        Classification.INVALID_ADDRESS,
        (
            "(#5.1.1)",  # qmail
            # RFC 5321 §4.2.2 has these words for any 550: only without a policy's status are they the recipient's.
            "550 mailbox unavailable",
            "550 requested action not taken: mailbox unavailable",  # GMX, web.de
            "5.5.0 requested action not taken: mailbox unavailable",  # Outlook.com
            "5.4.1 recipient address rejected: access denied",  # Outlook's edge, which knows its directory
            "#5.1.0 address rejected",  # Cisco
            "account does not exist",
            "account not available",  # Comcast
            "address does not exist",
            "address unknown",
            "addressee unknown",
            "doesn't have a yahoo",
            "empfänger unbekannt",
            "invalid mailbox",
            "invalid recipient",
            "is not a known user",
            "mailbox does not exist",
            "mailbox not found",
            "no longer on server",  # Apple
            "no mailbox here",
            "no such account",
            "no such mailbox",
            "no such person",
            "no such recipient",
            "no such user",
            "not a valid mailbox",
            "not a valid recipient",
            "not listed in",  # Domino: "not listed in Domino Directory"
            "p=nosuchuser",  # Gmail
            "recipient address rejected: undeliverable",  # Postfix that asked the next host
            "recipient not found",
            "recipient unknown",
            "recipnotfound",  # Exchange
            "that you tried to reach does not exist",  # Gmail
            "unknown address",
            "unknown mailbox",
            "unknown or illegal alias",  # Sun, Oracle
            "unknown recipient",
            "unknown user",
            "unroutable address",
            "unrouteable address",  # Exim
            "user does not exist",
            "user doesn't exist",  # Dovecot
            "user not found",
            "user unknown",
            "usuario desconocido",
            "utente sconosciuto",
            "utilisateur inconnu",
        ),
    ),
)
