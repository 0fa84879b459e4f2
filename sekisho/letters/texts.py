"""How each letter reads: plain text, in the reader's language, without anything that tells whether it was read."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from sekisho.letters.model import Kind

Say: TypeAlias = Callable[[str], str]
"""Gives the translation of an English text."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What a letter may name. Nothing in it is free text of a stranger's: that would make us mail it for him."""

    host: str
    """The server's name."""
    url: str
    """Where the dashboard is."""
    link: str = ""
    """The one-time link, where there is one."""
    known: bool = False
    """Of a sign-up: somebody logs in with this address already."""
    account: str = ""
    username: str = ""
    new_email: str = ""
    who: str = ""
    """Who invites."""
    address: str = ""
    """From which network address it was asked for or done."""
    what: str = ""
    """Of FACTORS_CHANGED: a word of WHAT."""
    at_ms: int = 0


WHAT: Final = (
    "totp_added",
    "totp_removed",
    "passkey_added",
    "passkey_removed",
    "recovery_used",
    "recovery_new",
    "reset",
)
"""What can become of second factors; written in ``about["what"]``."""


def text_of(kind: Kind, facts: Facts, _: Say) -> tuple[str, str]:
    """Write subject and text."""
    subject, parts = _WRITERS[kind](facts, _)
    foot = _("This is about {host}, {when} UTC.").format(host=facts.host, when=_when(facts.at_ms))
    return subject, "\n\n".join([*parts, foot]) + "\n"


def _signup(facts: Facts, _: Say) -> tuple[str, list[str]]:
    if facts.known:
        return _("You have an account already"), [
            _("Somebody, perhaps you, wanted to open an account at {host} with this address.").format(host=facts.host),
            _("You log in there with this address already: {url}").format(url=facts.url + "/login"),
            _("If you do not remember your password, choose a new one: {url}").format(url=facts.url + "/reset"),
            _("If it was not you, you need not do anything."),
        ]
    return _("Open your account"), [
        _("Somebody, perhaps you, wants to open an account at {host} with this address.").format(host=facts.host),
        _("To go on, follow this link within 24 hours:"),
        facts.link,
        _("If it was not you, you need not do anything: without this link nothing is opened."),
    ]


def _signup_invited(facts: Facts, _: Say) -> tuple[str, list[str]]:
    if facts.known:
        return _signup(facts, _)
    return _("You are invited to open an account"), [
        _("The operator of {host} invites you to open an account there.").format(host=facts.host),
        _("To accept, follow this link within 7 days:"),
        facts.link,
        _("If you expected nothing of the kind, you need not do anything."),
    ]


def _invite(facts: Facts, _: Say) -> tuple[str, list[str]]:
    return _("You are invited to the account {account}").format(account=facts.account), [
        _("{who} invites you to work in the account {account} at {host}.").format(
            who=facts.who, account=facts.account, host=facts.host
        ),
        _("To accept, follow this link within 7 days. You choose a password and set up a second factor there:"),
        facts.link,
        _("If you do not know who that is, you need not do anything."),
    ]


def _reset(facts: Facts, _: Say) -> tuple[str, list[str]]:
    return _("Choose a new password"), [
        _("Somebody, perhaps you, asked for a new password for {username} at {host}, from {address}.").format(
            username=facts.username, host=facts.host, address=facts.address
        ),
        _("To choose one, follow this link within one hour:"),
        facts.link,
        _("Your second factor stays as it is: you will be asked for it. All other sessions of yours will end."),
        _("If it was not you, you need not do anything: your password stays as it is."),
    ]


def _email_confirm(facts: Facts, _: Say) -> tuple[str, list[str]]:
    return _("Confirm this address"), [
        _("{username} at {host} wants to use this address from now on.").format(
            username=facts.username, host=facts.host
        ),
        _("To confirm that it is yours, follow this link within 24 hours:"),
        facts.link,
        _("If that is not you, you need not do anything."),
    ]


def _email_asked(facts: Facts, _: Say) -> tuple[str, list[str]]:
    return _("Your address is to be changed"), [
        _("Somebody who is logged in as {username} at {host} asked to use another address: {new_email}").format(
            username=facts.username, host=facts.host, new_email=facts.new_email
        ),
        _asked_from(facts, _),
        _("The change is made once the new address is confirmed."),
        _not_you(facts, _),
    ]


def _email_changed(facts: Facts, _: Say) -> tuple[str, list[str]]:
    return _("Your address was changed"), [
        _("{username} at {host} uses another address now: {new_email}").format(
            username=facts.username, host=facts.host, new_email=facts.new_email
        ),
        _("This address no longer logs in."),
        _("If it was not you, write to the operator of {host} at once, with this letter.").format(host=facts.host),
    ]


def _password_changed(facts: Facts, _: Say) -> tuple[str, list[str]]:
    return _("Your password was changed"), [
        _("The password of {username} at {host} was changed, and other sessions were ended.").format(
            username=facts.username, host=facts.host
        ),
        _asked_from(facts, _),
        _("If it was not you, choose a new one at once: {url}").format(url=facts.url + "/reset"),
    ]


def _factors_changed(facts: Facts, _: Say) -> tuple[str, list[str]]:
    done = {
        "totp_added": _("An authenticator app was set up."),
        "totp_removed": _("The authenticator app was removed."),
        "passkey_added": _("A passkey was added."),
        "passkey_removed": _("A passkey was removed."),
        "recovery_used": _("A recovery code was used."),
        "recovery_new": _("New recovery codes were made; the old ones are no longer good."),
        "reset": _("The operator removed all second factors. At the next log-in you set up a new one."),
    }
    return _("Your second factor was changed"), [
        _("This happened to the log-in of {username} at {host}:").format(username=facts.username, host=facts.host),
        done.get(facts.what, _("The second factor was changed.")),
        _asked_from(facts, _),
        _not_you(facts, _),
    ]


def _new_login(facts: Facts, _: Say) -> tuple[str, list[str]]:
    return _("A log-in from a new place"), [
        _("Somebody logged in as {username} at {host} from where you never did before.").format(
            username=facts.username, host=facts.host
        ),
        _asked_from(facts, _),
        _("If it was you, you need not do anything."),
        _not_you(facts, _),
    ]


def _limits_lifted(facts: Facts, _: Say) -> tuple[str, list[str]]:
    return _("Your account's first limit is lifted"), [
        _("The account {account} at {host} has sent well: the limit of new accounts is lifted.").format(
            account=facts.account, host=facts.host
        ),
        _("You need not do anything."),
    ]


def _asked_from(facts: Facts, _: Say) -> str:
    if not facts.address:
        return _("It was done at the server itself.")
    return _("It came from {address}.").format(address=facts.address)


def _not_you(facts: Facts, _: Say) -> str:
    return _(
        "If it was not you: log in at {url}, change your password, and end all sessions. "
        "If you cannot log in, write to the operator of {host}."
    ).format(url=facts.url, host=facts.host)


def _when(at_ms: int) -> str:
    return f"{dt.datetime.fromtimestamp(at_ms / 1000, dt.UTC):%Y-%m-%d %H:%M:%S}"


_WRITERS: Final[dict[Kind, Callable[[Facts, Say], tuple[str, list[str]]]]] = {
    Kind.SIGNUP: _signup,
    Kind.RESET: _reset,
    Kind.SIGNUP_INVITED: _signup_invited,
    Kind.INVITE: _invite,
    Kind.EMAIL_CONFIRM: _email_confirm,
    Kind.EMAIL_ASKED: _email_asked,
    Kind.EMAIL_CHANGED: _email_changed,
    Kind.PASSWORD_CHANGED: _password_changed,
    Kind.FACTORS_CHANGED: _factors_changed,
    Kind.NEW_LOGIN: _new_login,
    Kind.LIMITS_LIFTED: _limits_lifted,
}
