"""What the form about a key says, read into what ``apikeys`` takes; and the form as it is shown for a key there is."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sekisho.apikeys import scopes
from sekisho.apikeys.groups import GROUPS
from sekisho.apikeys.model import NAME_MAX, ApiKey
from sekisho.apikeys.policy_text import NUMBER_MAX, PolicyFlaw, rate_text, read_policy
from sekisho.doors.dashboard.forms import Form
from sekisho.identity import KeyPolicy

Text = Callable[[str], str]

_LIST_MAX: Final = 48 * 1024
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

FULL: Final = "full"
SEND: Final = "send"
CHOSEN: Final = "chosen"


@dataclass(frozen=True, slots=True)
class KeyForm:
    """The fields as they were typed: shown again when something is wrong with them."""

    name: str = ""
    access: str = SEND
    """FULL, SEND, or CHOSEN: what stands in ``scopes``."""
    scopes: frozenset[str] = frozenset()
    ips: str = ""
    from_domains: str = ""
    from_addresses: str = ""
    rate: str = ""
    daily: str = ""
    max_recipients: str = ""
    expires: str = ""
    canary: bool = False


def read(form: Form) -> KeyForm:
    """Take the fields as they were sent."""
    return KeyForm(
        name=form.text("name", most=4 * NAME_MAX),
        access=form.text("access", most=20),
        scopes=frozenset(form.all("scope")) & scopes.FULL_ACCESS,
        ips=form.text("ips", most=_LIST_MAX),
        from_domains=form.text("from_domains", most=_LIST_MAX),
        from_addresses=form.text("from_addresses", most=_LIST_MAX),
        rate=form.text("rate", most=40),
        daily=form.text("daily", most=40),
        max_recipients=form.text("max_recipients", most=40),
        expires=form.text("expires", most=60),
        canary=form.flag("canary"),
    )


def of_key(key: ApiKey) -> KeyForm:
    """Fill the form with what a key is."""
    policy = key.policy
    return KeyForm(
        name=key.name,
        access=FULL if key.given is None else SEND if key.given == {scopes.MAIL_SEND} else CHOSEN,
        scopes=key.scopes,
        ips="\n".join(map(str, policy.ips)),
        from_domains="\n".join(sorted(policy.from_domains)),
        from_addresses="\n".join(sorted(policy.from_addresses)),
        rate="" if policy.rate is None else rate_text(policy.rate),
        daily="" if policy.daily is None else str(policy.daily),
        max_recipients="" if policy.max_recipients is None else str(policy.max_recipients),
        expires="" if policy.expires_ms is None else _moment(policy.expires_ms),
        canary=key.canary,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the fields come to."""

    name: str
    scopes: frozenset[str] | None
    """None: all that its maker may give."""
    policy: KeyPolicy


def wanted(typed: KeyForm, now_ms: int, _: Text, *, before: KeyPolicy | None = None) -> Wanted | Mapping[str, str]:
    """Understand the fields; else what is wrong with which. ``before``: the policy of the key that is changed."""
    wrong: dict[str, str] = {}
    if not (1 <= len(typed.name.strip()) <= NAME_MAX and typed.name.strip().isprintable()):
        wrong["name"] = _("Give the key a name of 1 to %(most)s printable characters.") % {"most": NAME_MAX}
    match typed.access:
        case "full":
            given: frozenset[str] | None = None
        case "send":
            given = frozenset({scopes.MAIL_SEND})
        case _:
            given = typed.scopes
            if not given:
                wrong["access"] = _("Choose at least one scope, or full access.")
    numbers = {name: _number(getattr(typed, name)) for name in ("daily", "max_recipients")}
    for name, number in numbers.items():
        if number is _NO_NUMBER:
            wrong[name] = _whole(_)
    if wrong:
        return wrong
    # A key that has expired may be renamed all the same.
    kept_ms = None if before is None else before.expires_ms
    stays = kept_ms is not None and typed.expires == _moment(kept_ms)
    policy = read_policy(
        ips=_lines(typed.ips),
        from_domains=_lines(typed.from_domains),
        from_addresses=_lines(typed.from_addresses),
        rate=typed.rate.strip() or None,
        daily=numbers["daily"],
        max_recipients=numbers["max_recipients"],
        expires=None if stays else _expiry(typed.expires),
        now_ms=now_ms,
    )
    if isinstance(policy, PolicyFlaw):
        return {"expires" if policy.field == "expires_at" else policy.field: said(policy, _)}
    return Wanted(typed.name.strip(), given, replace(policy, expires_ms=kept_ms) if stays else policy)


def said(flaw: PolicyFlaw, _: Text) -> str:
    """Say what is wrong with a limit, and what it wants."""
    texts = {
        "ips": _("Write one address or network on each line, such as 192.0.2.7 or 2001:db8::/32."),
        "from_domains": _("Write one domain name on each line, such as example.com."),
        "from_addresses": _("Write one e-mail address on each line, such as news@example.com."),
        "rate": _("Write recipients per second or minute: 10/s or 600/m."),
        "expires_at": _("Write a day or a time to come, such as 2027-01-31 or 2027-01-31T12:00:00Z, or how long: 30d."),
    }
    text = texts.get(flaw.field) or _whole(_)
    return f"{flaw.given}: {text}" if flaw.given else text


def _whole(_: Text) -> str:
    return _("Write a whole number from 1 to %(most)s, or nothing for no limit.") % {"most": NUMBER_MAX}


_NO_NUMBER: Final = -1
_DIGITS_MAX: Final = 10


def _number(text: str) -> int | None:
    stripped = text.strip()
    if not stripped:
        return None
    if not (stripped.isascii() and stripped.isdigit() and len(stripped) <= _DIGITS_MAX):
        return _NO_NUMBER
    number = int(stripped)
    return number if 1 <= number <= NUMBER_MAX else _NO_NUMBER


def _lines(text: str) -> list[str]:
    return re.split(r"[\s,]+", text.strip()) if text.strip() else []


def _expiry(text: str) -> str | None:
    if not text:
        return None
    # A day alone: until it begins, in UTC.
    return f"{text}T00:00:00Z" if _DATE.fullmatch(text) else text


def _moment(at_ms: int) -> str:
    return dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


# What is offered.


@dataclass(frozen=True, slots=True)
class Group:
    """Scopes about one thing, to be ticked."""

    name: str
    scopes: Sequence[str]
    ticked: int


def offered(may_give: Collection[str], ticked: Collection[str]) -> list[Group]:
    """List the scopes that somebody may give, by what they are about."""
    found = []
    for name, members in GROUPS.items():
        mine = [scope for scope in members if scope in may_give]
        if mine:
            found.append(Group(name, mine, sum(scope in ticked for scope in mine)))
    return found
