"""The body of mail/send: from JSON to a value that cannot be wrong any more, or to everything that is wrong with it.

Pure. Strict where the vendor is (sheet mail-send.md §3, §4): every problem is found and named by its place. What this
version does not carry out is refused by name, unless it asks for nothing.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sekisho.doors.api.problems import ErrorItem
from sekisho.doors.api.v3 import mail_texts as texts
from sekisho.wire.mail.address import Mailbox, is_local_name, parse_path, routes_in_local_part
from sekisho.wire.mail.compose import Attachment, Named, Text, is_clean, is_media_type

PERSONALIZATIONS_MAX: Final = 1000
RECIPIENTS_MAX: Final = 1000
REPLY_TO_MAX: Final = 1000
CATEGORIES_MAX: Final = 10
CATEGORY_LENGTH_MAX: Final = 255
ARGS_BYTES_MAX: Final = 10_000
"""Of one personalization with the root's; the vendor's schema. They are repeated in every event."""
ERRORS_MAX: Final = 100
"""One answer names so many."""
_CONTENT_ID_MAX: Final = 900
_SHOWN_MAX: Final = 100
"""Of a value that an error repeats."""

RESERVED: Final = frozenset(
    ("x-sg-id", "x-sg-eid", "received", "dkim-signature", "to", "from", "subject", "reply-to", "cc", "bcc")
) | frozenset(
    # Ours besides: what says how the message is built, who returns it, and how we are talked to over SMTP.
    ("mime-version", "return-path", "x-smtpapi")
)
_RESERVED_PREFIX: Final = "content-"

_LATER: Final = ("template_id", "sections", "send_at", "batch_id", "asm", "ip_pool_name")
_LATER_EACH: Final = ("substitutions", "dynamic_template_data", "send_at")
_ROOT: Final = frozenset(
    (
        *_LATER,
        "attachments",
        "categories",
        "content",
        "custom_args",
        "from",
        "headers",
        "mail_settings",
        "personalizations",
        "reply_to",
        "reply_to_list",
        "subject",
        "tracking_settings",
    )
)
_EACH: Final = frozenset((*_LATER_EACH, "bcc", "cc", "custom_args", "from", "headers", "subject", "to"))
_MAIL_SETTINGS: Final = (
    "bcc",
    "bypass_bounce_management",
    "bypass_list_management",
    "bypass_spam_management",
    "bypass_unsubscribe_management",
    "footer",
    "sandbox_mode",
    "spam_check",
)
_TRACKING_SETTINGS: Final = ("click_tracking", "ganalytics", "open_tracking", "subscription_tracking")

_Object = Mapping[str, object]
_Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Personalization:
    """One message: its people, and what it says differently; the root's values are in it already."""

    sender: Named
    to: tuple[Named, ...]
    cc: tuple[Named, ...]
    bcc: tuple[Named, ...]
    subject: str
    headers: _Pairs
    args: _Pairs
    has_own_sender: bool

    @property
    def recipients(self) -> tuple[Mailbox, ...]:
        return tuple(one.mailbox for group in (self.to, self.cc, self.bcc) for one in group)


@dataclass(frozen=True, slots=True)
class MailRequest:
    """A request that can be carried out, as far as its form goes."""

    personalizations: tuple[Personalization, ...]
    texts: tuple[Text, ...]
    attachments: tuple[Attachment, ...]
    reply_to: tuple[Named, ...]
    categories: tuple[str, ...]
    category_is_list: bool
    is_sandboxed: bool


def read(document: object, now_s: int) -> MailRequest | tuple[ErrorItem, ...]:
    """Read a decoded body; ``now_s`` tells which ``send_at`` asks for nothing: one that is past."""
    reader = _Reader(now_s)
    found = reader.read(document)
    if reader.errors or found is None:
        return tuple(reader.errors)
    return found


class _Reader:
    """Collects what is wrong on the way. What cannot be read stands as an empty value until the end."""

    def __init__(self, now_s: int) -> None:
        self.errors: list[ErrorItem] = []
        self._now_s = now_s

    def wrong(self, field: str | None, text: str, section: str | None = None) -> None:
        if len(self.errors) < ERRORS_MAX:
            self.errors.append(ErrorItem(text, field, texts.help_of(section)))
        elif len(self.errors) == ERRORS_MAX:
            self.errors.append(ErrorItem(texts.MANY))

    def _wrong_type(self, field: str | None, expected: str, given: object, section: str | None) -> None:
        self.wrong(field, texts.TYPE.format(expected=expected, given=_json_type(given)), section)

    # The whole.

    def read(self, document: object) -> MailRequest | None:
        if not isinstance(document, dict):
            self._wrong_type(None, "object", document, None)
            return None
        self._names(document, "", _ROOT)
        self._later(document, "", _LATER)
        sender = self._sender(document)
        headers = self._headers(document, "")
        args = self._args(document, "")
        subject = self._subject(document, "")
        personalizations = self._personalizations(document, sender, subject, headers, args)
        each = document.get("personalizations")
        has_own = isinstance(each, list) and all(isinstance(one, dict) and "subject" in one for one in each)
        if "subject" not in document and each and not has_own:
            self.wrong("subject", texts.SUBJECT_REQUIRED, "subject")
        categories, is_list = self._categories(document)
        return MailRequest(
            personalizations=personalizations,
            texts=self._content(document),
            attachments=self._attachments(document),
            reply_to=self._reply_to(document),
            categories=categories,
            category_is_list=is_list,
            is_sandboxed=self._settings(document),
        )

    def _names(self, found: _Object, path: str, known: frozenset[str]) -> None:
        for name in found:
            if name not in known:
                self.wrong(path + _shown(name), texts.UNKNOWN.format(name=_shown(name)))

    def _later(self, found: _Object, path: str, names: tuple[str, ...]) -> None:
        for name in names:
            value = found.get(name)
            if value is None or value == {}:
                continue
            if name == "send_at":
                if not isinstance(value, int) or isinstance(value, bool):
                    self.wrong(path + name, texts.SEND_AT, "send_at")
                    continue
                if value <= self._now_s:
                    continue
            self.wrong(path + name, texts.LATER.format(name=name), name)

    def _string(self, found: _Object, name: str, path: str, section: str, text: str) -> str:
        """Read a string that may be absent, and may not be empty; ``text`` says so."""
        if name not in found:
            return ""
        value = found[name]
        if not isinstance(value, str):
            self._wrong_type(path + name, "string", value, section)
            return ""
        if not value:
            self.wrong(path + name, text, section)
        return value

    def _subject(self, found: _Object, path: str) -> str:
        section = "personalizations.subject" if path else "subject"
        subject = self._string(found, "subject", path, section, texts.SUBJECT)
        if not is_clean(subject):
            self.wrong(f"{path}subject", texts.CONTROL.format(name="subject"), section)
        return subject

    # People.

    def _sender(self, document: _Object) -> Named | None:
        if "from" not in document:
            self.wrong("from", texts.FROM, "from")
            return None
        return self._one(document["from"], "from", "from", texts.FROM_OBJECT, texts.FROM_EMAIL)

    def _one(self, value: object, path: str, section: str, missing: str, bad: str) -> Named | None:
        """Read ``{email, name}``; ``missing`` is said of the object, ``bad`` of the address."""
        if not isinstance(value, dict):
            self._wrong_type(path, "object", value, section)
            return None
        email, name = value.get("email"), value.get("name")
        if email is None or email == "":
            self.wrong(f"{path}.email" if missing is texts.TO_EMAIL else path, missing, section)
            return None
        self._names(value, f"{path}.", frozenset(("email", "name")))
        if name is not None and not isinstance(name, str):
            self._wrong_type(f"{path}.name", "string", name, section)
            name = ""
        if name and not is_clean(name):
            self.wrong(f"{path}.name", texts.CONTROL.format(name="name"), section)
        if not isinstance(email, str):
            self._wrong_type(f"{path}.email", "string", email, section)
            return None
        mailbox = parse_path(email)
        if mailbox is None or mailbox.domain.startswith("["):
            self.wrong(f"{path}.email", bad, section)
            return None
        return Named(mailbox, name or "")

    def _personalizations(
        self, document: _Object, sender: Named | None, subject: str, headers: _Pairs, args: _Pairs
    ) -> tuple[Personalization, ...]:
        value = document.get("personalizations")
        if not value and (value is None or isinstance(value, list)):
            self.wrong("personalizations", texts.PERSONALIZATIONS, "personalizations")
            return ()
        if not isinstance(value, list):
            self._wrong_type("personalizations", "array", value, "personalizations")
            return ()
        if len(value) > PERSONALIZATIONS_MAX:
            text = texts.PERSONALIZATIONS_MANY.format(count=len(value))
            self.wrong("personalizations", text, "personalizations")
            return ()
        people = sum(
            len(group)
            for one in value
            if isinstance(one, dict)
            for group in (one.get("to"), one.get("cc"), one.get("bcc"))
            if isinstance(group, list)
        )
        if people > RECIPIENTS_MAX:
            self.wrong("personalizations", texts.RECIPIENTS_MANY, "personalizations")
            return ()
        found = [
            self._personalization(one, f"personalizations.{index}", sender, subject, headers, args)
            for index, one in enumerate(value)
        ]
        return tuple(one for one in found if one is not None)

    def _personalization(
        self, value: object, place: str, sender: Named | None, subject: str, headers: _Pairs, args: _Pairs
    ) -> Personalization | None:
        if not isinstance(value, dict):
            self._wrong_type(place, "object", value, "personalizations")
            return None
        path = f"{place}."
        self._names(value, path, _EACH)
        self._later(value, path, _LATER_EACH)
        own = None
        if "from" in value:
            own = self._one(value["from"], f"{path}from", "from", texts.FROM_OBJECT, texts.FROM_EMAIL)
        to, cc, bcc = self._to(value, path), self._copies(value, "cc", path), self._copies(value, "bcc", path)
        self._unique(place, to=to, cc=cc, bcc=bcc)
        own_subject, own_headers = self._subject(value, path), self._headers(value, path)
        all_args = dict(args) | dict(self._args(value, path))
        if sum(len(name.encode()) + len(text.encode()) for name, text in all_args.items()) > ARGS_BYTES_MAX:
            where = f"{path}custom_args" if "custom_args" in value else "custom_args"
            if all(error.field != where for error in self.errors):
                self.wrong(where, texts.ARGS_SIZE, "custom_args")
        sender = own or sender
        if sender is None:
            return None
        replaced = {name.lower() for name, _ in own_headers}
        kept = tuple(pair for pair in headers if pair[0].lower() not in replaced)
        return Personalization(
            sender, to, cc, bcc, own_subject or subject, kept + own_headers, tuple(all_args.items()), own is not None
        )

    def _to(self, found: _Object, path: str) -> tuple[Named, ...]:
        value, section = found.get("to"), "personalizations.to"
        if value is not None and not isinstance(value, list):
            self._wrong_type(f"{path}to", "array", value, section)
            return ()
        if not value:
            self.wrong(f"{path}to", texts.TO, section)
            return ()
        return self._people(value, f"{path}to", section, texts.TO_EMAIL)

    def _copies(self, found: _Object, name: str, path: str) -> tuple[Named, ...]:
        if name not in found:
            return ()
        value, section = found[name], f"personalizations.{name}"
        if not isinstance(value, list):
            self._wrong_type(path + name, "array", value, section)
            return ()
        if not value:
            self.wrong(path + name, texts.COPIES.replace("{name}", name), section)
        return self._people(value, path + name, section, texts.COPY)

    def _people(self, value: list[object], path: str, section: str, missing: str) -> tuple[Named, ...]:
        found: list[Named] = []
        for index, item in enumerate(value):
            place = f"{path}.{index}"
            one = self._one(item, place, section, missing, texts.ADDRESS)
            if one is None:
                continue
            # The policy below says the same of every recipient; here it is named by its place, with all else.
            if is_local_name(one.mailbox.domain) or routes_in_local_part(one.mailbox.local):
                self.wrong(f"{place}.email", texts.ADDRESS_PLACE, section)
            found.append(one)
        return tuple(found)

    def _unique(self, place: str, **groups: tuple[Named, ...]) -> None:
        seen: set[str] = set()
        for name, group in groups.items():
            for one in group:
                email = str(one.mailbox)
                if email.lower() in seen:
                    text = texts.DUPLICATE.format(email=email, field=f"{place}.{name}")
                    self.wrong(place, text, "personalizations")
                    return
                seen.add(email.lower())

    def _reply_to(self, document: _Object) -> tuple[Named, ...]:
        if "reply_to" in document:
            if "reply_to_list" in document:
                self.wrong("reply_to", texts.REPLY_TO_BOTH, "reply_to")
            one = self._one(document["reply_to"], "reply_to", "reply_to", texts.REPLY_TO, texts.ADDRESS)
            return () if one is None else (one,)
        value = document.get("reply_to_list", [])
        if not isinstance(value, list):
            self._wrong_type("reply_to_list", "array", value, "reply_to_list")
            return ()
        if len(value) > REPLY_TO_MAX:
            self.wrong("reply_to_list", texts.REPLY_TO_MANY, "reply_to_list")
            return ()
        found: list[Named] = []
        for index, item in enumerate(value):
            path = f"reply_to_list.{index}"
            if (one := self._one(item, path, "reply_to_list", texts.REPLY_TO_LIST, texts.ADDRESS)) is not None:
                found.append(one)
        if len({str(one.mailbox).lower() for one in found}) != len(found):
            self.wrong("reply_to_list", texts.REPLY_TO_TWICE, "reply_to_list")
        return tuple(found)

    # What comes with it.

    def _headers(self, found: _Object, path: str) -> _Pairs:
        if "headers" not in found:
            return ()
        value, place, section = found["headers"], f"{path}headers", f"{'personalizations.' if path else ''}headers"
        if not isinstance(value, dict):
            self._wrong_type(place, "object", value, section)
            return ()
        pairs: list[tuple[str, str]] = []
        seen: set[str] = set()
        for name, text in value.items():
            where, lower = f"{place}.{_shown(name)}", name.lower()
            if _is_no_field_name(name):
                self.wrong(where, texts.HEADER_KEYS_EACH if path else texts.HEADER_KEYS, section)
            elif lower in RESERVED or lower.startswith(_RESERVED_PREFIX):
                self.wrong(where, texts.HEADER_RESERVED_EACH if path else texts.HEADER_RESERVED, section)
            elif lower in seen:
                self.wrong(where, texts.HEADER_TWICE, section)
            elif not isinstance(text, str):
                self.wrong(where, texts.HEADER_VALUES_EACH if path else texts.HEADER_VALUES, section)
            elif not is_clean(text.replace("\t", " ")):
                self.wrong(where, texts.CONTROL.format(name="value of a header"), section)
            else:
                pairs.append((name, text))
            seen.add(lower)
        return tuple(pairs)

    def _args(self, found: _Object, path: str) -> _Pairs:
        if "custom_args" not in found:
            return ()
        value, place, section = found["custom_args"], f"{path}custom_args", "custom_args"
        if not isinstance(value, dict):
            self._wrong_type(place, "object", value, section)
            return ()
        if not value:
            self.wrong(place, texts.ARGS_EMPTY, section)
        pairs = tuple((name, text) for name, text in value.items() if isinstance(text, str))
        if len(pairs) != len(value):
            self.wrong(place, texts.ARGS_VALUES, section)
        return pairs

    def _categories(self, document: _Object) -> tuple[tuple[str, ...], bool]:
        if "categories" not in document:
            return (), False
        value = document["categories"]
        is_list = isinstance(value, list)
        # The older schema takes a lone string, and events repeat the shape.
        given = value if isinstance(value, list) else [value]
        if len(given) > CATEGORIES_MAX:
            self.wrong("categories", texts.CATEGORIES_MANY.format(count=len(given)), "categories")
            return (), is_list
        found: list[str] = []
        for one in given:
            if not isinstance(one, str):
                self.wrong("categories", texts.CATEGORIES, "categories")
                return (), is_list
            if not one.isascii():
                self.wrong("categories", texts.CATEGORY_ASCII, "categories")
            elif len(one) > CATEGORY_LENGTH_MAX:
                self.wrong("categories", texts.CATEGORY_LONG.format(given=_shown(one)), "categories")
            elif one in found:
                self.wrong("categories", texts.CATEGORY_TWICE.format(given=_shown(one)), "categories")
            found.append(one)
        return tuple(found), is_list

    # Content.

    def _content(self, document: _Object) -> tuple[Text, ...]:
        if "content" not in document:
            self.wrong("content", texts.CONTENT_REQUIRED, "content")
            return ()
        value = document["content"]
        if not isinstance(value, list):
            self._wrong_type("content", "array", value, "content")
            return ()
        if not value:
            self.wrong("content", texts.CONTENT_EMPTY, "content")
        found = [self._text(item, f"content.{index}") for index, item in enumerate(value)]
        ranks = [{"text/plain": 0, "text/html": 2}.get(text.type, 3) for text in found if text is not None]
        # The AMP part stands between the two: of alternatives, the last that is understood is shown.
        ranks = [
            1 if text.type == "text/x-amp-html" else rank
            for text, rank in zip([text for text in found if text is not None], ranks, strict=True)
        ]
        if ranks != sorted(ranks) and set(ranks) & {0, 2}:
            self.wrong("content", texts.CONTENT_ORDER, "content")
        return tuple(text for text in found if text is not None)

    def _text(self, value: object, path: str) -> Text | None:
        if not isinstance(value, dict):
            self._wrong_type(path, "object", value, "content")
            return None
        self._names(value, f"{path}.", frozenset(("type", "value")))
        if "type" not in value:
            self.wrong(f"{path}.type", texts.CONTENT_TYPE_REQUIRED, "content.type")
        if "value" not in value:
            self.wrong(f"{path}.value", texts.CONTENT_VALUE_REQUIRED, "content.value")
        kind = self._string(value, "type", f"{path}.", "content.type", texts.CONTENT_TYPE)
        self._media_type(kind, f"{path}.type", "content.type", texts.CONTENT_TYPE_MARKS)
        text = self._string(value, "value", f"{path}.", "content.value", texts.CONTENT_VALUE)
        return Text(kind.lower(), text)

    def _media_type(self, kind: str, path: str, section: str, marks: str) -> None:
        if not kind:
            return
        if any(mark in kind for mark in ";\r\n"):
            self.wrong(path, marks, section)
        elif not is_media_type(kind) or kind.lower().startswith("multipart/"):
            self.wrong(path, texts.NOT_A_TYPE, section)

    def _attachments(self, document: _Object) -> tuple[Attachment, ...]:
        if "attachments" not in document:
            return ()
        value = document["attachments"]
        if not isinstance(value, list):
            self._wrong_type("attachments", "array", value, "attachments")
            return ()
        found = [self._attachment(item, f"attachments.{index}") for index, item in enumerate(value)]
        return tuple(one for one in found if one is not None)

    def _attachment(self, value: object, path: str) -> Attachment | None:
        if not isinstance(value, dict):
            self._wrong_type(path, "object", value, "attachments")
            return None
        self._names(value, f"{path}.", frozenset(("content", "type", "filename", "disposition", "content_id", "name")))
        kind = value.get("type", "application/octet-stream")
        if not isinstance(kind, str) or not kind:
            self.wrong(f"{path}.type", texts.FILE_TYPE, "attachments.type")
            kind = ""
        self._media_type(kind, f"{path}.type", "attachments.type", texts.FILE_TYPE_MARKS)
        disposition = value.get("disposition", "attachment")
        if disposition not in ("inline", "attachment"):
            text = texts.FILE_DISPOSITION.format(given=_shown(disposition))
            self.wrong(f"{path}.disposition", text, "attachments.disposition")
        content = self._file(value.get("content"), f"{path}.content")
        filename, content_id = self._filename(value, path), self._content_id(value, path)
        return Attachment(content, kind, filename, inline=disposition == "inline", content_id=content_id)

    def _file(self, value: object, path: str) -> bytes:
        if not isinstance(value, str) or not value:
            self.wrong(path, texts.FILE_CONTENT, "attachments.content")
            return b""
        try:
            # Some clients send it in lines, as it would stand in a message.
            return binascii.a2b_base64(value.replace("\r", "").replace("\n", "").encode("ascii"), strict_mode=True)
        except ValueError:  # binascii.Error and UnicodeEncodeError are
            self.wrong(path, texts.FILE_BASE64, "attachments.content")
            return b""

    def _filename(self, value: _Object, path: str) -> str:
        name, place, section = value.get("filename"), f"{path}.filename", "attachments.filename"
        if name is None or name == "":
            self.wrong(place, texts.FILE_NAME_REQUIRED, section)
        elif not isinstance(name, str):
            self.wrong(place, texts.FILE_NAME, section)
        elif "\r" in name or "\n" in name:
            self.wrong(place, texts.FILE_NAME_MARKS, section)
        elif not is_clean(name):
            self.wrong(place, texts.CONTROL.format(name="filename of your attachment"), section)
        else:
            return name
        return ""

    def _content_id(self, value: _Object, path: str) -> str:
        found, place, section = value.get("content_id"), f"{path}.content_id", "attachments.content_id"
        if found is None or found == "":
            return ""
        if not isinstance(found, str):
            self.wrong(place, texts.FILE_ID.format(given=_shown(found)), section)
            return ""
        if "\r" in found or "\n" in found:
            self.wrong(place, texts.FILE_ID_MARKS, section)
            return ""
        bare = found.removeprefix("<").removesuffix(">")
        if not bare or len(bare) > _CONTENT_ID_MAX or any(not "!" <= c <= "~" or c in "<>" for c in bare):
            self.wrong(place, texts.FILE_ID_ASCII, section)
        return bare

    # Settings.

    def _settings(self, document: _Object) -> bool:
        """Whether this is only a test of the form (sandbox mode)."""
        for setting, name, value in self._each_setting(document, "tracking_settings", _TRACKING_SETTINGS):
            if name == "click_tracking" and not isinstance(value.get("enable_text", False), bool):
                self.wrong(f"{setting}.enable_text", texts.CLICK_TEXT, "tracking_settings")
            if self._is_enabled(setting, name, value):
                self.wrong(setting, texts.LATER.format(name=name), "tracking_settings")
        is_sandboxed = False
        for setting, name, value in self._each_setting(document, "mail_settings", _MAIL_SETTINGS):
            if not self._is_enabled(setting, name, value):
                continue
            if name == "sandbox_mode":
                is_sandboxed = True
            else:
                self.wrong(setting, texts.LATER.format(name=name), "mail_settings")
        return is_sandboxed

    def _each_setting(self, document: _Object, group: str, known: tuple[str, ...]) -> list[tuple[str, str, _Object]]:
        value = document.get(group)
        if value is None:
            return []
        if not isinstance(value, dict):
            self._wrong_type(group, "object", value, group)
            return []
        self._names(value, f"{group}.", frozenset(known))
        found: list[tuple[str, str, _Object]] = []
        for name in known:
            one = value.get(name)
            if isinstance(one, dict):
                found.append((f"{group}.{name}", name, one))
            elif one is not None:
                self._wrong_type(f"{group}.{name}", "object", one, group)
        return found

    def _is_enabled(self, setting: str, name: str, value: _Object) -> bool:
        enable = value.get("enable", False)
        if isinstance(enable, bool):
            return enable
        plain = name.replace("_", " ")
        text = texts.ENABLE.get(name, f"The {plain} enable param should be a boolean value.")
        self.wrong(f"{setting}.enable", text, setting.partition(".")[0])
        return False


def _is_no_field_name(name: str) -> bool:
    return not name or any(not "!" <= letter <= "~" or letter == ":" for letter in name)


def _json_type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "number"
        case list():
            return "array"
        case _:
            return "object"


def _shown(value: object) -> str:
    """Fit a value of the request for an error text."""
    text = value if isinstance(value, str) else repr(value)
    return text[:_SHOWN_MAX]
