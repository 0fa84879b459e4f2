"""Mail addresses: the one parser whose reading is both checked and used.

Two places speak of addresses, each with its own grammar: the envelope (RFC 5321 §4.1.2, ``parse_path``) and the From
header (RFC 5322 §3.4, ``parse_from``). Both end in a ``Mailbox``; nobody else takes an address apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sekisho.wire.mail.encoded_words import decode_all

LOCAL_LENGTH_MAX = 64
"""RFC 5321 §4.5.3.1.1."""
DOMAIN_LENGTH_MAX = 253
"""RFC 1035 §2.3.4: 255 octets on the wire are 253 characters of text."""
LABEL_LENGTH_MAX = 63
ADDRESS_LENGTH_MAX = 254
"""RFC 5321 §4.5.3.1.3: a path is at most 256 octets, two of them its angle brackets."""
FROM_LENGTH_MAX = 8 * 1024
"""One mailbox with the longest name that people really send is under 1 KiB; beyond this nobody has a legal reason."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One address. Domains that differ only in case are equal; local parts are the receiver's affair, kept as given."""

    local: str
    """As written, quotes included when it was quoted."""
    domain: str
    """Lower-case ASCII (A-labels for international names), without a trailing dot; or a literal, ``[…]``."""

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}"


_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
_DOT_ATOM = rf"{_ATEXT}++(?:\.{_ATEXT}++)*+"
# RFC 5321 §4.1.2 qtextSMTP and quoted-pairSMTP: printable ASCII and space, nothing else.
_QUOTED_LOCAL = r'"(?:[ !#-\[\]-~]|\\[ -~])*+"'
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}+(?<!-)"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL})*+"
# RFC 5321 §4.1.3, read loosely: a literal is parsed only so that the caller can refuse it by its name. But for the
# marks that cut addresses: whoever looks for the last "@" must find the one in front of the domain.
_LITERAL = r"\[[!-;=?A-Z^-~]++\]"

_is_domain = re.compile(_DOMAIN).fullmatch
_match_path = re.compile(rf"({_DOT_ATOM}|{_QUOTED_LOCAL})@({_DOMAIN}|{_LITERAL})").fullmatch


def parse_path(text: str) -> Mailbox | None:
    """Read the Mailbox of a MAIL or RCPT path, angle brackets already taken off; None when it is not one.

    Source routes (``@a,@b:x@y``) are not read: RFC 5321 §4.1.1.3 lets a server refuse them, and a relay that follows
    them sends where its caller never looked. A domain may be an address literal; ``is_local_name`` tells.
    """
    if len(text) > ADDRESS_LENGTH_MAX or (found := _match_path(text)) is None:
        return None
    local, domain = found.groups()
    if len(local) > LOCAL_LENGTH_MAX or len(domain) > DOMAIN_LENGTH_MAX:
        return None
    return Mailbox(local, domain.lower())


def is_domain(text: str) -> bool:
    """Tell whether this is a host name of one label or more: letters, digits, hyphens; no trailing dot, no literal."""
    return len(text) <= DOMAIN_LENGTH_MAX and _is_domain(text) is not None


# A last label that is a number in decimal, octal or hexadecimal makes inet_aton read the whole as an IPv4 address
# (127.1, 0x7f.1, 2130706433, 0177.0.0.1), and no such top-level domain can exist (RFC 3696 §2). One rule for all.
_is_number = re.compile(r"[0-9]++|0x[0-9a-f]*+").fullmatch


def is_local_name(domain: str) -> bool:
    """Tell whether this names the machine itself, an address or nothing public, instead of a domain that receives mail.

    True for literals, bare addresses in any spelling that a resolver takes, localhost and what is under it, names
    without a dot, and whatever is no domain name at all. Trailing dots do not change the answer.
    """
    name = domain.rstrip(".").lower()
    return (
        not is_domain(name)
        or "." not in name
        or name.endswith((".localhost", ".localdomain", ".localdomain4", ".localdomain6"))
        or _is_number(name.rpartition(".")[2]) is not None
    )


def routes_in_local_part(local: str) -> bool:
    """Tell whether this local part holds an address of its own: ``"x@elsewhere.example"@here.example``.

    A host that takes the quotes off and looks again sends to the inner address (the oldest of the relaying tricks).
    ``%`` and ``!`` do not count: no present host acts on them unless told to, and ``user%shop`` or ``a!b`` are ordinary
    names (VERP, mailing lists). We ourselves never look inside any local part: mail goes to ``Mailbox.domain``.
    """
    return "@" in local


_ATEXT_8BIT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\xff-]"
# In quotes: no angle bracket, though RFC 5322 allows it, so that no value has two; a backslash only where it is needed.
_QUOTED_NAME = r'"(?:[\t !#-;=?-\[\]-~\x80-\xff]|\\["\\])*+"'
# "." is no atom character, yet "John Q. Public" is written everywhere and read by all (RFC 5322 §4.1, obs-phrase).
_WORD = rf"(?:{_ATEXT_8BIT}++|{_QUOTED_NAME})"
_PHRASE = rf"(?:{_WORD}(?:{_WORD}|[\t .]++)*+)?+"
# A quoted local part only for the few old mailboxes that need one ("john..doe", "john."); nothing in it is special.
_FROM_ADDRESS = rf'({_DOT_ATOM}|"(?:{_ATEXT}|\.)++")@([A-Za-z0-9.-]++)'
_FROM_COMMENT = r"\([\t !#-'*+./0-9=?A-Z^-z{|}~\[\]-]*+\)"

_match_from = re.compile(
    rf"[\t ]*+{_PHRASE}<{_FROM_ADDRESS}>[\t ]*+|[\t ]*+{_FROM_ADDRESS}[\t ]*+(?:{_FROM_COMMENT}[\t ]*+)?+".encode(
        "latin-1"
    )
).fullmatch
_fold = re.compile(rb"\r\n(?=[\t ]+[^\t \r\n])").sub


def parse_from(value: bytes) -> Mailbox | None:
    r"""Read the body of a From header, folded or not; None unless it is exactly one mailbox that nobody can misread.

    The rule behind every refusal: the address read here is the one that is checked, so **every receiver must read the
    same one**, also those that count quotes wrongly, decode before they parse, or take the first thing in angle
    brackets. What RFC 5322 allows but readers disagree about is refused, even if it names one mailbox.

    Taken: ``a@b.example``; ``<a@b.example>``; a name of atoms, dots, quoted strings, encoded words or raw 8-bit text in
    front of the latter; folds between its words; one plain comment after a bare address, as cron and old tools write
    (``root@b.example (Cron Daemon)``).

    Refused: groups, lists, routes, literals, other comments, whitespace or an encoded word inside the address, a second
    ``<`` or ``>`` anywhere, names with unquoted specials, control characters; and a second ``@`` (fine in plain quotes)
    once a backslash or an encoded word could move where the quotes end.
    """
    if len(value) > FROM_LENGTH_MAX:
        return None
    if b"\r" in value:
        # Only a fold that leaves something on its next line: some readers end the header at a blank one.
        value = _fold(b"", value)
    found = _match_from(value)
    if found is None:
        return None
    local, domain = (found[1], found[2]) if found[1] is not None else (found[3], found[4])
    if len(local) > LOCAL_LENGTH_MAX or len(local) + 1 + len(domain) > ADDRESS_LENGTH_MAX:
        return None
    if b"=?" in value or b"?=" in value:
        if b"=?" in local or b"?=" in local or not _harmless_when_decoded(value):
            return None
    elif b"\\" in value and (value.count(b"@") > 1 or not value.isascii()):
        # A reader that does not know \" thinks the quotes end there; and after an 8-bit octet the backslash is the
        # second half of a letter to readers of Shift_JIS or GBK.
        return None
    name = domain.decode("ascii").lower()
    return Mailbox(local.decode("ascii"), name) if is_domain(name) else None


def _harmless_when_decoded(value: bytes) -> bool:
    """Tell whether a reader that decodes words before it parses (against RFC 2047 §6.2) still sees one address."""
    if b"\\" in value or value.count(b"@") > 1:
        return False
    words = decode_all(value)
    return words is not None and not any(_dangerous(word) for word in words)


def _dangerous(text: str) -> bool:
    return any(character in _ADDRESS_MARKS or character < " " or character == "\x7f" for character in text)


_ADDRESS_MARKS = frozenset("<>@")
