"""``POST /v3/mail/send``: a request becomes messages, one per personalization, and a 202 once they are on disk.

Composed here and now, and handed in as over SMTP: the same judgement of From, domain and caps, the same storage. A body
is composed once; personalizations differ in their headers.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import structlog
from litestar import Request, Response, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from sekisho.doors.api.caller import Caller, caller_of
from sekisho.doors.api.problems import ErrorItem, Problem, plain, problem, refused
from sekisho.doors.api.v3 import mail_body, mail_request, mail_texts
from sekisho.doors.api.v3.mail_body import BodyMemory, Share
from sekisho.doors.api.v3.mail_request import MailRequest, Personalization
from sekisho.identity import Identity, IPAddress
from sekisho.ids import message_id_text
from sekisho.policy import sending
from sekisho.queue import bodies
from sekisho.queue.faults import NO_ROOM
from sekisho.queue.model import BodyFile
from sekisho.refusal import Reason, Refused
from sekisho.submission import Intake, NotTaken, Submission
from sekisho.wire.mail.compose import UnwritableHeaderError, address_field, compose, given_field, text_field
from sekisho.wire.mail.smtpapi import Instructions

_log = structlog.get_logger()

T = TypeVar("T")

FILE_BYTES: Final = 256 * 1024
"""A larger body goes to a file, as over SMTP."""

ROWS_BYTES: Final = 4 * 1024 * 1024
"""A body that many messages share goes to one file too, when in rows it would be more than this."""

HEADERS_MAX_BYTES: Final = 8 * 1024 * 1024
"""Of all messages of a request: root headers are repeated in each."""


@dataclass(frozen=True, slots=True)
class Mailing:
    """What the route works with."""

    intake: Intake
    admits: Callable[[Identity], Refused | None]
    """Whether a pass is still good: a large body takes its time."""
    memory: BodyMemory
    threads: Executor
    """For what would keep the loop: large bodies."""
    incoming: Path
    """Where large bodies are written before they are accepted; this process's alone."""
    hostname: str
    on_refused: Callable[[Reason, IPAddress | None, Identity | None], None] = lambda *_: None
    """Hears of mail that policy does not let out."""

    def open(self) -> None:
        """Make the directory, and remove what an earlier life of this process left there. Blocks."""
        self.incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self.incoming.iterdir():
            path.unlink()


Mails = NamedDependency[SkipValidation[Mailing]]


@post(
    "/v3/mail/send",
    status_code=202,
    request_max_body_size=mail_body.BODY_MAX_BYTES,
    summary="Send a message to the recipients of each personalization",
)
async def send(request: Request[Any, Any, State], mailing: Mails) -> Response[bytes]:
    caller = caller_of(request)  # asked for itself: for two dependencies the framework starts a task each
    mail_body.check_type(request.headers.get("content-type", ""))
    with Share(mailing.memory) as share:
        body = await mail_body.receive(request.stream(), request.headers.get("content-encoding", ""), share)
        is_little = mail_body.is_little(body)
        asked = await _run(mailing, lambda: _read(body, caller.now_ms // 1000), is_little)
        if asked.is_sandboxed:
            return _answer(200)
        if (ended := mailing.admits(caller.identity)) is not None:
            raise refused(ended)
        _admit_recipients(mailing, caller, asked)
        submissions = await _run(mailing, lambda: _compose(mailing, caller, asked), is_little)
        taken = await _hand_in(mailing, submissions)
        if isinstance(taken, NotTaken):
            mailing.on_refused(taken.refused.reason, caller.address, caller.identity)
            raise _not_taken(taken, asked)
        return _answer(202, {"X-Message-Id": taken})


async def _run(mailing: Mailing, work: Callable[[], T], is_little: bool) -> T:
    """Do what takes long for some bodies: those in a thread."""
    if is_little:
        return work()
    return await asyncio.get_running_loop().run_in_executor(mailing.threads, work)


def _answer(status: int, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(b"", status_code=status, media_type="text/plain", headers=headers)


def _read(body: bytes, now_s: int) -> MailRequest:
    found = mail_request.read(mail_body.decode(body), now_s)
    if isinstance(found, tuple):
        raise Problem(400, *found)
    return found


def _admit_recipients(mailing: Mailing, caller: Caller, asked: MailRequest) -> None:
    """Ask of each recipient what every door asks; a key's limit is one for the whole request."""
    already = 0
    for part, one in enumerate(asked.personalizations):
        for name, group in (("to", one.to), ("cc", one.cc), ("bcc", one.bcc)):
            for index, person in enumerate(group):
                if (no := sending.may_mail(caller.identity, person.mailbox, already)) is not None:
                    mailing.on_refused(no.reason, caller.address, caller.identity)
                    answer = refused(no)
                    raise problem(
                        answer.status, answer.errors[0].message, f"personalizations.{part}.{name}.{index}.email"
                    )
                already += 1


def _compose(mailing: Mailing, caller: Caller, asked: MailRequest) -> tuple[Submission, ...]:
    """Make the messages. Blocks when the body goes to a file, which is the last thing that can fail."""
    composed = compose(asked.texts, asked.attachments, secrets.token_hex(16))
    headers = [header_of(asked, number, one) + composed.fields for number, one in enumerate(asked.personalizations)]
    if sum(map(len, headers)) > HEADERS_MAX_BYTES:
        raise plain(413)
    at = format_datetime(datetime.fromtimestamp(caller.now_ms // 1000, UTC))
    # Who the client is stays with us, as over SMTP.
    trace = f"Received: by {mailing.hostname} (Sekisho) with HTTP id {caller.request_id};\r\n\t{at}\r\n".encode("ascii")
    body: bytes | BodyFile = composed.body
    size_bytes = len(composed.body)
    if size_bytes > FILE_BYTES or size_bytes * len(headers) > ROWS_BYTES:
        body = _write(mailing.incoming / caller.request_id, composed.body)
    return tuple(
        Submission(
            identity=caller.identity,
            mail_from=str(one.sender.mailbox),
            recipients=tuple(map(str, one.recipients)),
            header=header,
            body=body,
            trace=trace,
            eight_bit=False,
            told=Instructions((), asked.categories, asked.category_is_list, one.args),
            address=caller.address,
        )
        for one, header in zip(asked.personalizations, headers, strict=True)
    )


def header_of(asked: MailRequest, number: int, one: Personalization) -> bytes:
    """Write what is said of one message; its MIME fields come behind."""
    fields = [address_field(b"From", [one.sender]), address_field(b"To", one.to)]
    if one.cc:
        fields.append(address_field(b"Cc", one.cc))
    if asked.reply_to:
        fields.append(address_field(b"Reply-To", asked.reply_to))
    fields.append(text_field(b"Subject", one.subject))
    for name, value in one.headers:
        try:
            fields.append(given_field(name.encode("ascii"), value))
        except UnwritableHeaderError:
            field = f"personalizations.{number}.headers.{name[:100]}"
            raise problem(400, mail_texts.HEADER_LONG, field) from None
    return b"".join(fields)


def _write(path: Path, body: bytes) -> BodyFile:
    try:
        return bodies.write(path, body)
    except OSError as error:
        _log.error("api.body_not_written", error=str(error))  # the disk's doing: a traceback says no more
        is_full = error.errno in NO_ROOM
        raise refused(Refused(Reason.STORAGE_FULL if is_full else Reason.STORAGE_UNAVAILABLE)) from None


async def _hand_in(mailing: Mailing, submissions: tuple[Submission, ...]) -> str | NotTaken:
    """Give the messages to the one way in; the request's id once they are on disk."""
    # Shielded: a client that hangs up changes nothing about what is being committed.
    answer = await asyncio.shield(mailing.intake.accept_together(submissions))
    return answer if isinstance(answer, NotTaken) else message_id_text(answer[0].message_id)


_ABOUT_FROM: Final = frozenset(
    (Reason.FROM_MISSING, Reason.FROM_MALFORMED, Reason.FROM_UNVERIFIED, Reason.FROM_NOT_ALLOWED)
)


def _not_taken(answer: NotTaken, asked: MailRequest) -> Problem:
    found = refused(answer.refused)
    if answer.part is None or answer.refused.reason not in _ABOUT_FROM:
        return found
    is_own = asked.personalizations[answer.part].has_own_sender
    error = found.errors[0]
    field = f"personalizations.{answer.part}.from" if is_own else "from"
    return Problem(found.status, ErrorItem(error.message, field, error.help))


HANDLERS = (send,)
