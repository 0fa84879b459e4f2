"""Stage 1, the one way in: judge a submission and make it durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Protocol

from sekisho.apikeys.model import ApiKey
from sekisho.domains import SigningDomain
from sekisho.identity import Identity, IPAddress
from sekisho.ids import AccountId, Chance, MessageId, message_id_of, message_id_text, new_message_id
from sekisho.policy import sending
from sekisho.ports.clock import Clock
from sekisho.queue.model import BodyFile, Caps, Delivery, Message, NewMessage, Recipient
from sekisho.queue.spool import Spool
from sekisho.refusal import Reason, Refused
from sekisho.wire.mail import headers, smtpapi
from sekisho.wire.mail.address import Mailbox, parse_from
from sekisho.wire.mail.smtpapi import NOTHING_ASKED, Instructions, Malformed


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """A message being handed in, complete and within the door's bounds, not yet judged."""

    identity: Identity
    mail_from: str
    """The client's MAIL FROM path without brackets; ``""`` for the null path."""
    recipients: tuple[str, ...]
    """``local@domain`` (domain lower case), in the order given, already admitted one by one."""
    header: bytes
    """The header block as received: lines ending in CRLF, without the empty line."""
    body: bytes | BodyFile
    """After the empty line, dots unstuffed. A BodyFile here is a temporary file that accept() moves or removes."""
    trace: bytes
    """The finished ``Received:`` field of this door, CRLF at its end; prepended as it is."""
    eight_bit: bool
    """Some octet of header or body is over 127."""
    told: Instructions | None = None
    """What was said beside the header (the API); None: it stands in X-SMTPAPI, if anywhere. ``to`` is empty."""
    address: IPAddress | None = None
    """The client's."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """On disk: from here on every recipient ends in exactly one outcome."""

    message_id: MessageId
    """Of the only message, or of the request that handed in several (``ids.message_id_of``)."""


@dataclass(frozen=True, slots=True)
class NotTaken:
    """Why a request that hands in several messages was refused as a whole."""

    refused: Refused
    part: int | None = None
    """The message it is about; None: all together."""


_PARTS_AT_ONCE = 16
"""Messages of one request that are judged in one turn of the loop."""

RECEIVED_MAX = 100
"""Trace fields before we call it a loop: RFC 5321 §6.3 asks for at least 100."""

MESSAGE_ID_MAX_BYTES = 998
"""It is repeated in every event of every recipient; RFC 5322 has no use for one that fills more than a line."""

_REMOVED = frozenset({b"bcc", b"return-path", b"x-smtpapi"})
"""Bcc must not travel (RFC 5322 §3.6.3), Return-Path is the last hop's word (RFC 5321 §4.4), X-SMTPAPI is ours."""

INVALID_SMTPAPI = "Invalid SMTPAPI header"
"""The vendor's reason of a dropped event (events sheet §2)."""


class Domains(Protocol):
    """Who signs for a sender: the answer to (account, subuser, From domain)."""

    async def lookup(self, account_id: AccountId, subuser_id: AccountId | None, domain: str) -> SigningDomain | None:
        """The domain valid for that sender; raises DatabaseUnavailable when that cannot be known now."""


class Screen(Protocol):
    """Looks for what must not leave: texts of API keys."""

    async def keys_in(
        self, header_blocks: Sequence[bytes], body: bytes | Path, said: Sequence[str]
    ) -> tuple[ApiKey, ...]:
        """Find the keys in force whose texts are in there; raises DatabaseUnavailable and OSError."""

    async def tell(self, identity: Identity, message: str, keys: Sequence[ApiKey], *, at_ms: int) -> None:
        """Tell owners of a message that is held for that."""


class Intake:
    """Judges submissions and makes them durable; one per process."""

    def __init__(  # the collaborators speak for themselves
        self,
        *,
        spool: Spool,
        domains: Domains,
        body_path: Callable[[MessageId], Path],
        hostname: str,
        node: int,
        clock: Clock,
        recipient: Callable[[Identity, Mailbox, int], Refused | None],
        screen: Screen | None = None,
        on_taken: Callable[[Submission, NewMessage], None] = lambda *_: None,
    ) -> None:
        """``recipient`` is the question every door asks per RCPT; X-SMTPAPI ``to`` must pass it as well.

        ``body_path`` names the spool's place for a large body. ``on_taken`` hears of every message that was stored.
        """
        self._spool = spool
        self._domains = domains
        self._body_path = body_path
        self._hostname = hostname
        self._node = node
        self._clock = clock
        self._recipient = recipient
        self._screen = screen
        self._on_taken = on_taken
        self._chance = Chance()

    async def accept(self, submission: Submission) -> tuple[Accepted, tuple[Delivery, ...]] | Refused:
        """Judge the message and commit it; returns once it is on disk, with the deliveries this created.

        A temporary body file is moved into the spool, or removed when the answer is no.
        """
        try:
            new = await self._judge(submission, self._new_id())
            if not isinstance(new, Refused):
                answer = await self._store(new.message.id, (submission,), (new,))
                if not isinstance(answer, Refused):
                    return Accepted(new.message.id), answer
                new = answer
        except BaseException:
            _discard(submission.body)
            raise
        _discard(submission.body)
        return new

    async def accept_together(
        self, submissions: Sequence[Submission]
    ) -> tuple[Accepted, tuple[Delivery, ...]] | NotTaken:
        """Judge the messages of one request and commit all or none of them, counted at once against all caps.

        They are of one identity, at most ``ids.PARTS_MAX``, and have one body between them. As ``accept`` otherwise.
        """
        request, news = self._new_id(), []
        try:
            for part, submission in enumerate(submissions):
                new = await self._judge(submission, message_id_of(request, part))
                if isinstance(new, Refused):
                    _discard(submission.body)
                    return NotTaken(new, part)
                news.append(new)
                if part % _PARTS_AT_ONCE == _PARTS_AT_ONCE - 1:
                    await asyncio.sleep(0)
            answer = await self._store(request, submissions, news)
            if isinstance(answer, Refused):
                _discard(submissions[0].body)
                return NotTaken(answer)
        except BaseException:
            _discard(submissions[0].body)
            raise
        return Accepted(request), answer

    async def _store(
        self, request: MessageId, submissions: Sequence[Submission], news: Sequence[NewMessage]
    ) -> tuple[Delivery, ...] | Refused:
        """Commit what was judged; held, and its owners told, when it carries the text of a key."""
        # What is dropped goes nowhere anyway.
        keys = () if news[0].dropped_reason else await self._keys_in(submissions)
        answer = await self._spool.append(*([replace(new, is_held=True) for new in news] if keys else news))
        if isinstance(answer, Refused):
            return answer
        for submission, new in zip(submissions, news, strict=True):
            self._on_taken(submission, new)
        if keys and self._screen is not None:
            first = submissions[0]
            await self._screen.tell(first.identity, message_id_text(request), keys, at_ms=self._clock.now_ms())
        return answer

    async def _keys_in(self, submissions: Sequence[Submission]) -> tuple[ApiKey, ...]:
        if self._screen is None:
            return ()
        body = submissions[0].body
        told = [one.told for one in submissions if one.told is not None]
        said = [
            text for one in told for text in (*one.categories, *(word for pair in one.unique_args for word in pair))
        ]
        return await self._screen.keys_in(
            [one.header for one in submissions], body.path if isinstance(body, BodyFile) else body, said
        )

    def _new_id(self) -> MessageId:
        return new_message_id(self._clock.now_ms(), self._node, self._chance())

    async def _judge(self, submission: Submission, message_id: MessageId) -> NewMessage | Refused:
        identity = submission.identity
        fields = headers.parse(submission.header)
        if isinstance(fields, headers.HeaderFault):
            name = fields.name.decode("ascii")
            return Refused(Reason.HEADER_MALFORMED, f"{name}: {fields.flaw.value}" if name else fields.flaw.value)
        sender = _sender(fields)
        if isinstance(sender, Refused):
            return sender
        from_domain = sender.domain
        signing = await self._domains.lookup(identity.account_id, identity.subuser_id, from_domain)
        if (refused := sending.may_use_from(identity, sender, signing)) is not None:
            return refused
        instructions = _instructions(fields) if submission.told is None else submission.told
        if isinstance(instructions, Refused):
            return instructions
        recipients = self._recipients(submission, instructions)
        if isinstance(recipients, Refused):
            return recipients
        return self._message(submission, fields, from_domain, instructions, recipients, message_id=message_id)

    def _recipients(
        self, submission: Submission, instructions: Instructions | Malformed
    ) -> tuple[Recipient, ...] | Refused:
        identity = submission.identity
        if isinstance(instructions, Malformed) or not instructions.to:
            # The same address twice in one envelope is one copy, as every mail server does it.
            unique = dict.fromkeys(submission.recipients)
            return tuple(Recipient(index, address) for index, address in enumerate(unique))
        if (most := identity.policy.max_recipients) is not None and len(instructions.to) > most:
            return Refused(Reason.RECIPIENTS_TOO_MANY, f"this key may address {most} recipients per message")
        for to in instructions.to:
            # ``already`` is 0: the number was judged above, and the RCPT limit does not bind this list.
            if (refused := self._recipient(identity, to.mailbox, 0)) is not None:
                return refused
        return tuple(Recipient(index, str(to.mailbox), to.text) for index, to in enumerate(instructions.to))

    def _message(
        self,
        submission: Submission,
        fields: tuple[headers.Field, ...],
        from_domain: str,
        instructions: Instructions | Malformed,
        recipients: tuple[Recipient, ...],
        *,
        message_id: MessageId,
    ) -> NewMessage:
        identity = submission.identity
        now_ms = self._clock.now_ms()
        header, smtp_id = _outgoing_header(
            submission, fields, now_ms, f"{message_id_text(message_id)}@{self._hostname}"
        )
        body = submission.body
        temporary = None
        if isinstance(body, BodyFile):
            temporary = body.path
            body = BodyFile(self._body_path(message_id), body.size_bytes, body.checksum)
        malformed = isinstance(instructions, Malformed)
        told = NOTHING_ASKED if isinstance(instructions, Malformed) else instructions
        # A message that will be dropped counts as well: it costs as much, and a leaked key must not send any for free.
        caps = caps_of(identity, now_ms)
        message = Message(
            id=message_id,
            accepted_ms=now_ms,
            account_id=identity.account_id,
            subuser_id=identity.subuser_id,
            key_id=identity.key_id,
            mail_from=submission.mail_from,
            from_domain=from_domain,
            header=header,
            body=body,
            eight_bit=submission.eight_bit,
            smtp_id=smtp_id,
            categories=told.categories,
            category_is_list=told.category_is_list,
            unique_args=told.unique_args,
        )
        return NewMessage(message, recipients, caps, INVALID_SMTPAPI if malformed else "", temporary)


def caps_of(identity: Identity, now_ms: int) -> Caps | None:
    """List what accepting mail of this identity must be counted against; None: nothing."""
    policy, granted = identity.policy, identity.credits
    if policy.rate is None and policy.daily is None and not granted:
        return None
    return Caps(
        identity.key_id,
        None if policy.rate is None else policy.rate.count,
        1 if policy.rate is None else policy.rate.window_s,
        policy.daily,
        tuple(one.bucket(now_ms) for one in granted),
    )


def _sender(fields: tuple[headers.Field, ...]) -> Mailbox | Refused:
    """The one mailbox in the one From; trace and duplicates are judged in the same walk."""
    if (double := headers.find_duplicate(fields)) is not None:
        name = double.decode("ascii", "replace")
        if name == "from":
            return Refused(Reason.FROM_MALFORMED, "there is more than one From header")
        return Refused(Reason.HEADER_DUPLICATE, name)
    found: headers.Field | None = None
    received = 0
    for field in fields:
        if field.name == b"from":
            found = field
        elif field.name == b"received":
            received += 1
        elif field.name == b"message-id" and len(field.raw) > MESSAGE_ID_MAX_BYTES:
            return Refused(Reason.HEADER_MALFORMED, f"message-id: over {MESSAGE_ID_MAX_BYTES} octets")
    if received > RECEIVED_MAX:
        return Refused(Reason.MESSAGE_LOOP)
    if found is None:
        return Refused(Reason.FROM_MISSING, "there is no From header")
    mailbox = parse_from(found.value)
    if mailbox is None:
        return Refused(Reason.FROM_MALFORMED, "the From header is not one plain mailbox")
    return mailbox


def _instructions(fields: tuple[headers.Field, ...]) -> Instructions | Malformed | Refused:
    """The first X-SMTPAPI wins (vendor sheet smtp.md §7)."""
    for field in fields:
        if field.name == b"x-smtpapi":
            break
    else:
        return NOTHING_ASKED
    match smtpapi.parse(field.value):
        case smtpapi.Unsupported(key):
            return Refused(Reason.SMTPAPI_UNSUPPORTED, key)
        case smtpapi.BadAddress(text):
            return Refused(Reason.RECIPIENT_MALFORMED, f"X-SMTPAPI to: {text}")
        case told:
            return told


def _outgoing_header(
    submission: Submission, fields: tuple[headers.Field, ...], now_ms: int, fallback_id: str
) -> tuple[bytes, str]:
    """The header block as it leaves, and its Message-ID: byte for byte but for what this door adds and removes."""
    smtp_id = ""
    dated = False
    removed: set[headers.Field] = set()  # of equal ones all are removed
    for field in fields:
        name = field.name
        # An empty one is a missing one: beside ours it would be a second.
        if name == b"message-id":
            smtp_id = field.value.decode("ascii", "backslashreplace")
            if not smtp_id:
                removed.add(field)
        elif name == b"date":
            dated = bool(field.value)
            if not dated:
                removed.add(field)
        elif name in _REMOVED:
            removed.add(field)
    header = submission.header
    if removed:
        header = b"".join(field.raw for field in fields if field not in removed)
    added = submission.trace
    if not smtp_id:
        smtp_id = f"<{fallback_id}>"
        added += b"Message-ID: " + smtp_id.encode("ascii") + b"\r\n"
    if not dated:
        added += b"Date: " + format_datetime(datetime.fromtimestamp(now_ms // 1000, UTC)).encode("ascii") + b"\r\n"
    return added + header, smtp_id


def _discard(body: bytes | BodyFile) -> None:
    if isinstance(body, BodyFile):
        body.path.unlink(missing_ok=True)
