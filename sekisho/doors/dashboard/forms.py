"""What a person typed: one bounded, urlencoded body, read once, checked before any handler sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from sekisho.doors.dashboard.deps import WebRequest
from sekisho.doors.dashboard.problems import PageProblem
from sekisho.languages import N_
from sekisho.secret import Secret

FORM_MAX_BYTES: Final = 64 * 1024
FIELDS_MAX: Final = 1000
TEXT_MAX: Final = 1000

_TYPE: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Form:
    """The fields in the order in which they came."""

    fields: tuple[tuple[str, str], ...] = ()

    def text(self, name: str, most: int = TEXT_MAX) -> str:
        """Give a field's text without the blanks around it; empty when it is not there. Raises PageProblem."""
        value = self.raw(name, most).strip()
        return "\n".join(value.splitlines())

    def raw(self, name: str, most: int = TEXT_MAX) -> str:
        """Give it as it was typed. Raises PageProblem (413)."""
        value = next((value for key, value in self.fields if key == name), "")
        if len(value) > most:
            raise PageProblem(413, N_("What you typed is too long."))
        return value

    def secret(self, name: str, most: int = TEXT_MAX) -> Secret[str]:
        """Give a password, blanks and all."""
        return Secret(self.raw(name, most))

    def all(self, name: str) -> tuple[str, ...]:
        """Give every value of a field: boxes that were ticked."""
        return tuple(value for key, value in self.fields if key == name)

    def flag(self, name: str) -> bool:
        """Whether a box was ticked."""
        return bool(self.raw(name))


def parse(body: bytes, content_type: str) -> Form:
    """Read a body; raises PageProblem."""
    if len(body) > FORM_MAX_BYTES:
        raise PageProblem(413, N_("What you sent is too large."))
    if body and content_type.partition(";")[0].strip().lower() != _TYPE:
        raise PageProblem(415, N_("Pages take forms only."))
    try:
        text = body.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError:
        raise PageProblem(400, N_("What you sent is not a form.")) from None
    if any("\0" in name or "\0" in value for name, value in fields):
        raise PageProblem(400, N_("What you sent is not a form."))
    return Form(tuple(fields))


async def read_form(request: WebRequest) -> Form:
    """Give a handler its form, which admission has read and checked."""
    found: Form = request.scope["state"]["form"]
    return found
