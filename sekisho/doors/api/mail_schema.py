"""The body of mail/send as our OpenAPI document tells it; ``v3.mail_request`` is what reads one."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Text = Annotated[str, Meta(min_length=1)]
Category = Annotated[str, Meta(max_length=255)]


class Person(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An address, and a name beside it."""

    email: Annotated[str, Meta(min_length=3)]
    name: str | None = None


class Personalization(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """One message. All of its ``to`` and ``cc`` see each other; what stands here wins over the root's."""

    to: Annotated[list[Person], Meta(min_length=1)]
    cc: Annotated[list[Person], Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    bcc: Annotated[list[Person], Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    from_: Person | msgspec.UnsetType = msgspec.UNSET
    subject: Text | msgspec.UnsetType = msgspec.UNSET
    headers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    custom_args: dict[str, str] | msgspec.UnsetType = msgspec.UNSET


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One form of the text: ``text/plain`` before ``text/html``, others behind."""

    type: Text
    value: Text


class Attachment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file. ``content`` is base64."""

    content: Text
    filename: Text
    type: Text | msgspec.UnsetType = msgspec.UNSET
    disposition: Literal["attachment", "inline"] = "attachment"
    content_id: str | None = None


class Setting(msgspec.Struct, frozen=True):
    """On or off."""

    enable: bool = False


class MailSettings(msgspec.Struct, frozen=True):
    """Only this one may be on, and then nothing is sent: the request is checked."""

    sandbox_mode: Setting | msgspec.UnsetType = msgspec.UNSET


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Messages to send: one for each personalization, at most 1,000 recipients in all.

    ``subject`` may be left out when each personalization has one. ``reply_to`` and ``reply_to_list`` exclude each
    other. Every other parameter of the vendor's is refused by name while it is not carried out.
    """

    personalizations: Annotated[list[Personalization], Meta(min_length=1, max_length=1000)]
    from_: Person
    content: Annotated[list[Content], Meta(min_length=1)]
    subject: Text | msgspec.UnsetType = msgspec.UNSET
    reply_to: Person | msgspec.UnsetType = msgspec.UNSET
    reply_to_list: Annotated[list[Person], Meta(max_length=1000)] | msgspec.UnsetType = msgspec.UNSET
    attachments: list[Attachment] | msgspec.UnsetType = msgspec.UNSET
    headers: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    categories: Annotated[list[Category], Meta(max_length=10)] | msgspec.UnsetType = msgspec.UNSET
    custom_args: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    mail_settings: MailSettings | msgspec.UnsetType = msgspec.UNSET
