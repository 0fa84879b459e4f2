"""Refusals as hosts write them, and what each means: one line per answer, as heard after RCPT.

Addresses, hosts and ticket numbers are ours; the words are those of the hosts.
"""

from __future__ import annotations

from sekisho.queue.model import BounceType, Classification

_US, _RECIPIENT = BounceType.BLOCKED, BounceType.BOUNCE

BOOK: dict[tuple[BounceType, Classification], tuple[str, ...]] = {
    (_RECIPIENT, Classification.INVALID_ADDRESS): (
        # Gmail
        "550 5.1.1 The email account that you tried to reach does not exist. https://support.google.com/mail/?p=NoSuchUser",
        "550 5.7.1 See https://support.google.com/mail/?p=NoSuchUser",
        "550 The email account that you tried to reach does not exist.",
        "553 5.1.3 The recipient address <bob> is not a valid RFC 5321 address. - gsmtp",
        # Microsoft
        "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient bob@mx.test not found by SMTP address lookup",
        "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found",
        "550 RESOLVER.ADR.ExRecipNotFound; not found",
        "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [mx.test 2026-11-24T08:00:00.000Z]",
        "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [mx.test]",
        # Yahoo
        "554 delivery error: dd This user doesn't have a yahoo.com account (bob@mx.test) [0] - mta1.mail.test",
        "554 delivery error: dd Not a valid recipient - atlas1.mx.test",
        "552 1 Requested mail action aborted, mailbox not found",
        "554 30 Requested mail action aborted, mailbox not found",
        # Apple
        "550 5.1.1 <bob@mx.test>: user does not exist",
        "550 <bob@mx.test>: user does not exist",
        "550 5.1.6 <bob@mx.test>: recipient no longer on server: bob@mx.test",
        "550 5.0.0 <bob@mx.test>: recipient no longer on server",
        # Others
        "550 5.7.1 No such user!",  # Yandex
        "550 Message was not accepted -- invalid mailbox. Local mailbox bob@mx.test is unavailable: user not found",
        "550 User not found: bob@mx.test",  # NetEase
        "550 Requested action not taken: mailbox unavailable",  # GMX
        "550 Mailbox unavailable",
        "550 5.0.0 <bob@mx.test>... account not available",  # Comcast
        "550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR204_418 [418]",  # Orange
        "550 Invalid recipient: <bob@mx.test>",  # SoftBank
        "550 Unknown user bob@mx.test",  # NTT Docomo
        "550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550",
        "550 #5.1.0 Address rejected.",  # Cisco
        "550 5.1.0 #5.1.0 Address rejected bob@mx.test",
        # Programs
        "550 5.1.1 <bob@mx.test>: Recipient address rejected: User unknown in virtual mailbox table",  # Postfix
        "550 5.7.1 <bob@mx.test>: Recipient address rejected: User unknown in local recipient table",
        "550 5.1.1 <bob@mx.test>: Recipient address rejected: undeliverable address: host mx2.test[192.0.2.1] said no",
        "550 <bob@mx.test>: Recipient address rejected: undeliverable address",
        "550 5.1.1 <bob@mx.test>... User unknown",  # Sendmail
        "550 No Such User Here",  # Exim with cPanel
        "550 Unrouteable address",  # Exim
        "550 Unroutable address",
        "550 sorry, no mailbox here by that name. (#5.1.1)",  # qmail
        "550 sorry, no mailbox here by that name",
        "550 sorry, nobody of this name (#5.1.1)",
        "550 5.1.1 <bob@mx.test> User doesn't exist: bob@mx.test",  # Dovecot
        "550 <bob@mx.test> User doesn't exist: bob@mx.test",
        "550 bob... No such recipient",  # MDaemon
        "550 5.7.1 <bob@mx.test>, Recipient unknown",
        "550 5.1.1 unknown or illegal alias: bob@mx.test",
        "550 unknown or illegal alias: bob@mx.test",
        "550 Bob Reader is not a known user",
        "550 5.0.0 bob not listed in Domino Directory",
        "554 no such account here",
        "550 no such mailbox",
        "550 No such person at this address",
        "550 5.2.0 Mailbox does not exist",
        "550 Account does not exist",
        "550 That address does not exist",
        "550 Address unknown",
        "550 Addressee unknown",
        "550 Recipient not found",
        "550 not a valid mailbox",
        "550 Unknown address",
        "550 unknown mailbox",
        "550 unknown recipient",
        "550 Empfänger unbekannt",
        "550 Usuario desconocido",
        "550 utente sconosciuto",
        "550 utilisateur inconnu",
        # Numbers only
        "550 5.1.1 who?",
        "550 5.1.2 Host unknown",
        "550 5.1.4 which of the two?",
        "550 5.1.10 this domain takes no mail",
        "551 not one of ours",
        "551 5.0.0 not one of ours",
    ),
    (_RECIPIENT, Classification.MAILBOX_UNAVAILABLE): (
        "550 5.2.1 The email account that you tried to reach is disabled. https://gmail.test/?p=DisabledUser",
        "550 The email account that you tried to reach is disabled.",
        "550 5.2.1 The email account that you tried to reach is inactive. - gsmtp",
        "554 30 Sorry, your message to bob@mx.test cannot be delivered. This mailbox is disabled (554.30).",  # Yahoo
        "550 Message was not accepted -- invalid mailbox. Local mailbox is unavailable: account is disabled",
        "550 mailbox disabled",
        "550 5.7.1 this account has been disabled",
        "550 account inactive",
        "550 this mailbox is inactive",
        "550 user disabled",
        "550 5.2.1 no more",
    ),
    (_US, Classification.MAILBOX_UNAVAILABLE): (
        "552 5.2.2 The email account that you tried to reach is over quota and inactive.",  # Gmail
        "452 4.2.2 The recipient's inbox is out of storage space. https://support.google.com/mail/?p=OverQuotaTemp",
        "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
        "554 STOREDRV.Deliver.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded",
        "552 5.2.2 <bob@mx.test>: user is over quota",  # Apple
        "552 5.2.2 <bob@mx.test> Quota exceeded (mailbox for user is full)",  # Dovecot
        "552 Requested mail action aborted: exceeded storage allocation",
        "550 5.1.1 Requested mailbox exceeds quota.",
        "550 The mailbox is full",
        "552 5.2.2 Quota exceeded",
        "550 5.1.1 User unknown: overquota",
        "550 the mailbox size limit of this user is reached",
        "552 no",
        "550 5.2.0 no",
        "550 5.2.7 no",
    ),
    (_US, Classification.FREQUENCY): (
        "421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address.",
        "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages",
        "450 4.2.1 The user you are trying to contact is receiving mail too quickly. Please resend later. - gsmtp",
        "550 5.4.5 Daily SMTP relay sending limit exceeded for user. - gsmtp",
        "451 4.7.650 The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.",  # Outlook
        "421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints",
        "550 Domain frequency limited. See https://mail.test",  # QQ
        "550 Mail flow limit reached",
        "421 4.1.0 192.0.2.1 Throttled. Please see http://postmaster.test",  # Comcast
        "554 5.7.1 You exceeded the rate-limit of this host",
        "421 4.7.1 mx.test mx.test OFR004_104: too many connections, slow down",  # Orange
        "550 5.1.1 Too many messages for this user today",
        "452 4.5.3 Too many recipients",
        "550 5.7.28 slow down",
    ),
    (_US, Classification.REPUTATION): (
        "550 5.1.1 <bob@mx.test> refused: blocked using zen.spamhaus.org",
        "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using Barracuda Reputation",
        "554 Service unavailable: poor score, see Barracuda Reputation at http://barracuda.test",
        "550 5.7.1 rejected because 192.0.2.1 is in a black list at zen.test",  # Exim
        "553 5.7.1 [BL21] Connections not accepted from 192.0.2.1, because the ip is in Spamhaus's list",  # Yahoo
        "554 Message not allowed - [PH01] Email not accepted for policy reasons.",  # Yahoo
        "550 5.7.1 Our system has detected that this message is from a sender of very low reputation. - gsmtp",
        "550 5.7.26 Your email has been blocked because the sender is unauthenticated. - gsmtp",
        "550 5.7.26 Unauthenticated email from example.test is not accepted due to the domain's policy. - gsmtp",
        "550 5.7.26 Unauthenticated email from example.test is not accepted due to domain's DMARC policy. - gsmtp",
        "550 5.7.25 The IP address sending this message does not have a PTR record setup. - gsmtp",
        "550 5.7.1 The sending host has a PTR record that points nowhere",
        "550 5.7.509 Access denied, sending domain example.test does not pass DMARC verification",
        "550 5.7.515 Access denied, sending domain example.test doesn't meet the required authentication level.",
        "550 5.7.606 Access denied, banned sending IP [192.0.2.1]. To request removal visit https://sender.test",
        "550 5.7.511 Access denied, banned sender[192.0.2.1].",
        "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP.",
        "550 5.7.1 Unfortunately, messages from [192.0.2.1] weren't sent. They are on our block list (S3140).",
        "550 SC-001 (COL0-MC3-F23) Unfortunately, messages from 192.0.2.1 weren't sent.",
        "554 5.7.1 [CS01] Message rejected due to local policy. Please visit https://support.apple.test",
        "550 5.7.0 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1",
        "554 IP=192.0.2.1 - A problem occurred. Ask your postmaster for help or to contact tobr@rx.test to clarify.",
        "554 Your access to this mail system has been rejected due to the sending MTA's poor reputation.",  # Cisco
        "550 bad reputation of 192.0.2.1",
        "550 192.0.2.1 is on our blacklist",
        "550 192.0.2.1 is on a blocklist",
        "554 5.7.1 <mx.test[192.0.2.1]>: Client host rejected: Access denied",  # Postfix
        "550 5.7.1 <relay.test>: Helo command rejected: Host not found",
        "550 5.1.0 <ann@example.test>: Sender address rejected: Domain not found",
        "550 5.1.0 <ann@example.test> sender rejected",
        "550 Sender verify failed",  # Exim
        "550 Sender verification failed",
        "550 5.1.1 User unknown, or greylisted",
        "451 4.7.1 Greylisting in action, please come back later",
        "451 4.7.1 Graylisted, wait",
        "550 see our dnsbl",
        "550 5.7.1 you are in RBL",
        "550 5.7.1 192.0.2.1 is listed on our own list",
        "550 5.7.1 rejected, listed at lists.test",
        "550 5.7.1 rejected, listed by lists.test",
        "550 this host is sending spam",
        "550 no reverse DNS for 192.0.2.1",
        "550 the reverse DNS of 192.0.2.1 is generic",
        "550 5.7.1 bl.spamcop.net says no",
        "550 5.7.23 SPF validation failed",
        "550 5.7.1 URL in multi.surbl.org",
        "550 5.7.20 No passing DKIM signature found",
        "550 5.7.9 Message not accepted",
    ),
    (_US, Classification.CONTENT): (
        "550 5.7.1 Our system has detected that this message is likely unsolicited mail. - gsmtp",
        "550 5.7.1 Our system has detected that this message is likely suspicious. - gsmtp",
        "552 5.7.0 This message was blocked because its content presents a potential security issue. - gsmtp",
        "552 5.2.3 Your message exceeded Google's message size limits. - gsmtp",
        "550 5.7.501 Access denied, spam abuse detected from IP address [192.0.2.1].",  # Outlook
        "550 Mail content denied",  # QQ
        "554 DT:SPM mx5, NeteaseSpam",  # 163.com
        "550 spam message rejected. Please visit http://help.mail.test/notspam-support",  # Mail.ru
        "554 5.7.1 [2] Message rejected under suspicion of SPAM; https://ya.test",  # Yandex
        "554 Email rejected due to MCSpamSignature.1.2",  # Mimecast
        "550 JunkMail rejected - mx.test",  # Exim
        "550 This message scored 9.1 spam points.",
        "550 Spam score too high",
        "550 spam detected",
        "550 Message rejected for spam or virus content",
        "550 5.7.1 Message identified as SPAM",
        "550 5.7.1 considered spam",
        "550 this is junk mail",
        "550 5.7.1 likely spam",
        "550 this looks like spam",
        "550 5.7.1 spam content",
        "550 5.7.1 rejected by our spam filter",
        "550 5.7.1 content rejected",
        "554 5.7.1 malware found",
        "554 5.7.1 phishing",
        "554 5.7.1 The message contains a virus",
        "552 5.3.4 Message too large",
        "552 message size exceeds fixed maximum message size",  # Postfix
        "554 5.6.0 not well formed",
        "552 5.3.4 no",
    ),
    (_US, Classification.TECHNICAL): (
        "550 5.7.1 Unable to relay",  # Exchange
        "550 5.7.64 TenantAttribution; Relay Access Denied",
        "554 5.7.1 <bob@mx.test>: Relay access denied",  # Postfix
        "550 relay not permitted",  # Exim
        "550 5.7.1 Relaying denied",  # Sendmail
        "550 relaying not allowed",
        "550 not permitted to relay through this server",
        "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",  # qmail
        "553 5.1.8 <ann@example.test>... Domain of sender address ann@example.test does not exist",  # Sendmail
        "550 Could not complete sender verify callout: callout verification failure",  # Exim
        "550 Could not verify sender",
        "550 The sender domain must exist",
        "530 5.7.0 Must issue a STARTTLS command first",
        "530 5.7.1 Authentication required",
        "550 Access denied - Invalid HELO name",
        "554 5.4.6 Too many hops",
        "554 5.4.14 Routing loop detected",
        "554 mail loop: too far",
        "550 DNS error",
        "554 internal error",
        "554 5.3.0 Internal server error",
        "554 system error",
        "550 5.1.1 lookup timed out",
        "550 5.1.1 lookup timeout",
        "550 5.1.1 Mailbox temporarily unavailable",
        "550 5.1.1 User unknown, try again later",
        "550 5.4.1 no",
        "554 5.5.0 no",
        "554 5.5.1 no valid recipients",
        "554 5.3.2 no",
        "550 5.1.7 no",
        "421 gone",
    ),
    (_US, Classification.UNCLASSIFIED): (
        "550 5.7.1 The user or domain that you are sending to (or from) has a policy that prohibited the mail. - gsmtp",
        "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication is needed",  # Exchange
        "550 5.7.1 RESOLVER.RST.NotAuthorized; ann is not authorized to send here",
        "554 5.7.9 Message not accepted for policy reasons.",  # Yahoo
        "554 Transaction failed Reject due to policy restrictions.",  # GMX
        "550 5.7.0 Local Policy Violation",  # Proofpoint
        "550 Administrative prohibition - envelope blocked",  # Mimecast
        "554 Email rejected due to security policies",
        "550 5.7.1 Service refuse. Service refused, OFR_506",  # Orange
        "550 ann is not allowed to send to this list",
        "550 policy violation",
        "550 5.7.1 Requested action not taken: mailbox unavailable",
        "550 That sender is an unknown user",
        "550 From address does not exist",
        "553 Mail from must equal authorized user: user unknown",
        "550 5.7.1 your message violates our policy",
        "550 5.7.1 no",
        "550 5.7.13 no",
        "550 5.1.0 no",
        "550 5.1.20 no",
        "550 5.0.0 no",
        "550 no",
        "553 no",
        "554 no",
        "450 no",
        "599 no",
    ),
}
