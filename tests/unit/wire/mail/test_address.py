from __future__ import annotations

import email.policy
import email.utils
import re
import socket
from email.headerregistry import AddressHeader
from email.parser import BytesParser
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sekisho.wire.mail import address
from sekisho.wire.mail.address import Mailbox, is_domain, is_local_name, parse_from, parse_path, routes_in_local_part
from sekisho.wire.mail.encoded_words import decode_all

# --- envelope paths ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "local", "domain"),
    [
        ("a@b.example", "a", "b.example"),
        ("A.B+c=d@B.EXAMPLE", "A.B+c=d", "b.example"),
        ("!#$%&'*+-/=?^_`{|}~@b.example", "!#$%&'*+-/=?^_`{|}~", "b.example"),
        ("bounces+x=y.example@b.example", "bounces+x=y.example", "b.example"),
        ("user%other.example@b.example", "user%other.example", "b.example"),
        ("other.example!user@b.example", "other.example!user", "b.example"),
        ('"a b"@b.example', '"a b"', "b.example"),
        ('"a\\"@\\\\b"@b.example', '"a\\"@\\\\b"', "b.example"),
        ('""@b.example', '""', "b.example"),
        ("a@localhost", "a", "localhost"),
        ("a@127.1", "a", "127.1"),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
        ("a@[IPv6:2001:DB8::1]", "a", "[ipv6:2001:db8::1]"),
        ("a@xn--bcher-kva.example", "a", "xn--bcher-kva.example"),
        ("a" * 64 + "@b.example", "a" * 64, "b.example"),
        ("a@" + "b" * 63 + ".example", "a", "b" * 63 + ".example"),
    ],
)
def test_paths_that_are_read(text: str, local: str, domain: str) -> None:
    assert parse_path(text) == Mailbox(local, domain)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "@",
        "a@",
        "@b.example",
        "a@b.example ",
        " a@b.example",
        "a @b.example",
        "a@ b.example",
        "a@b.example\n",
        "<a@b.example>",
        "@x.example,@y.example:a@b.example",
        "@x.example:a@b.example",
        ".a@b.example",
        "a.@b.example",
        "a..b@b.example",
        "a@b..example",
        "a@.example",
        "a@b.example.",
        "a@-b.example",
        "a@b-.example",
        "a@b_c.example",
        "a@b.exämple",
        "ä@b.example",
        "a@b@c.example",
        'a"b"@c.example',
        '"a"b@c.example',
        '"a@b.example',
        '"a"@"b"@c.example',
        '"a\tb"@c.example',
        '"a\x00b"@c.example',
        '"a\r\nb"@c.example',
        "a(c)@b.example",
        "a,b@c.example",
        "a;b@c.example",
        "a:b@c.example",
        "a\\b@c.example",
        "a@[192.0.2.1",
        "a@192.0.2.1]",
        "a@[]",
        "a@[1 2]",
        "a@[@]",
        "a@[x@y.example]",
        "a@[<]",
        "a@[>]",
        "a@::1",
        "a" * 65 + "@b.example",
        "a@" + "b" * 64 + ".example",
        "a@" + ".".join(["b" * 60] * 5),
        "a@b.example" + "\x00",
        "a\x7f@b.example",
    ],
)
def test_paths_that_are_refused(text: str) -> None:
    assert parse_path(text) is None


def test_lengths_are_bounded_at_the_octet() -> None:
    domain = ".".join(["b" * 47] * 4)
    assert len(domain) == 191
    assert parse_path("a" * 62 + "@" + domain) is not None  # 254
    assert parse_path("a" * 63 + "@" + domain) is None


@given(st.text(max_size=300))
@example("a@b.example\x00")
def test_no_text_breaks_the_path_parser_and_what_it_reads_prints_back(text: str) -> None:
    found = parse_path(text)
    if found is not None:
        local, _, domain = text.rpartition("@")
        assert (found.local, found.domain) == (local, domain.lower())
        assert parse_path(str(found)) == found


_LOCAL_ATOMS = st.text("abcXYZ019!#%+-/=_", min_size=1, max_size=8)
_LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)


@given(st.lists(_LOCAL_ATOMS, min_size=1, max_size=4), st.lists(_LABELS, min_size=1, max_size=5))
def test_every_ordinary_address_is_read_alike_from_path_and_header(atoms: list[str], labels: list[str]) -> None:
    text = ".".join(atoms) + "@" + ".".join(labels)
    expected = parse_path(text)
    assert expected is not None
    assert str(expected) == text
    assert parse_from(text.encode()) == expected
    assert parse_from(b"Name <" + text.encode() + b">") == expected


# --- names of domains -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["example", "b.example", "1.example", "a-b.example", "xn--p1ai", "A.EXAMPLE", "1.2.3.4"]
)
def test_domain_names(text: str) -> None:
    assert is_domain(text)


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a..b", "-a.b", "a-.b", "a_b.c", "a b.c", "ä.example", "a.b\n", "[1.2.3.4]", "::1", "a" * 64],
)
def test_no_domain_names(text: str) -> None:
    assert not is_domain(text)


def test_a_domain_of_good_labels_can_be_too_long() -> None:
    assert is_domain(".".join(["a" * 61] * 4))
    assert not is_domain(".".join(["a" * 61] * 4) + ".example")


@pytest.mark.parametrize(
    "name",
    [
        "localhost",
        "LocalHost",
        "localhost.",
        "localhost..",
        "a.localhost",
        "a.b.localhost.",
        "localhost.localdomain",
        "localhost6.localdomain6",
        "anything.localdomain",
        "mailhost",
        "mailhost.",
        "127.0.0.1",
        "127.0.0.1.",
        "1.2.3.4",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f.1",
        "0x7F000001",
        "0177.0.0.1",
        "0x7f.0.0.0x1",
        "1.2.3.4.5",
        "mail.example.0x1f",
        "mail.example.99",
        "[127.0.0.1]",
        "[ipv6:::1]",
        "[anything]",
        "::1",
        "fe80::1%eth0",
        "2001:db8::1",
        "",
        ".",
        "b.exämple",
        "１２７.0.0.1",  # fullwidth digits
        "a b.example",
    ],
)
def test_names_that_are_not_public_domains(name: str) -> None:
    assert is_local_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "b.example",
        "B.EXAMPLE.",
        "localhost.example",
        "notlocalhost.example",
        "1.example",
        "0x7f.example",
        "127.0.0.1.example",
        "1e100.net",
        "xn--p1ai.xn--p1ai",
        "my.localhost.example",
    ],
)
def test_names_that_are_public_domains(name: str) -> None:
    assert not is_local_name(name)


_NUMBERS = st.builds(format, st.integers(0, 2**32 - 1) | st.integers(0, 255), st.sampled_from(["d", "#x", "#X", "o"]))


@given(st.lists(_NUMBERS, min_size=1, max_size=5).map(".".join), st.sampled_from(["", ".", ".."]))
def test_whatever_inet_aton_takes_is_no_domain(numbers: str, dots: str) -> None:
    try:
        socket.inet_aton(numbers)
    except OSError:
        return
    assert is_local_name(numbers + dots)


@pytest.mark.parametrize(
    ("local", "routes"),
    [
        ('"x@elsewhere.example"', True),
        ('"@a.example,@b.example:x"', True),
        ('"x\\@elsewhere.example"', True),
        ("x%elsewhere.example", False),
        ("elsewhere.example!x", False),
        ("bounces+x=elsewhere.example", False),
        ('"a b"', False),
    ],
)
def test_an_address_inside_a_local_part_is_seen(local: str, routes: bool) -> None:
    path = parse_path(f"{local}@b.example")
    assert path is not None
    assert routes_in_local_part(path.local) is routes


# --- the From header --------------------------------------------------------------------------------------------------

_TAKEN = [
    b"joe@b.example",
    b" joe@b.example ",
    b"\tjoe@B.Example",
    b"<joe@b.example>",
    b" <joe@b.example> ",
    b"Joe <joe@b.example>",
    b"Joe<joe@b.example>",
    b"Joe Q. Public <joe@b.example>",
    b"Joe  \t Public\t<joe@b.example>",
    b"Acme, <joe@b.example>".replace(b",", b" Inc."),
    b'"Public, Joe" <joe@b.example>',
    b'"Joe (Sales)" <joe@b.example>',
    b'"joe@other.example" <joe@b.example>',
    b'"Joe: a; b, c" <joe@b.example>',
    b'"Joe \\"the man\\" Public" <joe@b.example>',
    b'"back\\\\slash" <joe@b.example>',
    b'"" <joe@b.example>',
    b'"Joe" Public <joe@b.example>',
    b'Joe "Q" Public <joe@b.example>',
    b"Joe's <joe@b.example>",
    b"Joe & Co! <joe@b.example>",
    b"=?utf-8?Q?M=C3=BCller=2C_J=C3=B6rg?= <joe@b.example>",
    b"=?UTF-8?B?SsO2cmc=?= =?utf-8?b?TcO8bGxlcg==?= <joe@b.example>",
    b"=?utf-8*de?Q?J=C3=B6rg?= Public <joe@b.example>",
    b'"=?utf-8?Q?J=C3=B6rg?=" <joe@b.example>',
    b"=?iso-2022-jp?B?GyRCOzNFRBsoQg==?= <joe@b.example>",
    b"=?windows-1252?Q?Caf=E9?= <joe@b.example>",
    b"=?utf-8?B?SsO2cmc?= <joe@b.example>",  # padding forgotten, as some do
    "Jörg <joe@b.example>".encode(),
    '"Müller, Jörg" <joe@b.example>'.encode(),
    "Jörg <joe@b.example>".encode("latin-1"),
    "山田 <joe@b.example>".encode(),
    b"Joe\r\n Public <joe@b.example>",
    b"Joe Public\r\n\t<joe@b.example>",
    b'"Joe\r\n Public" <joe@b.example>',
    b"\r\n joe@b.example",
    b"joe@b.example (Cron Daemon)",
    b"joe@b.example(Cron)",
    b"joe@b.example ()",
]


@pytest.mark.parametrize("value", _TAKEN)
def test_from_values_that_are_read(value: bytes) -> None:
    assert parse_from(value) == Mailbox("joe", "b.example")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Joe.Public+tag=x@b.example", Mailbox("Joe.Public+tag=x", "b.example")),
        (b'"joe..public"@b.example', Mailbox('"joe..public"', "b.example")),
        (b'Joe <"joe."@b.example>', Mailbox('"joe."', "b.example")),
        (b"Joe <joe%x@XN--BCHER-KVA.Example>", Mailbox("joe%x", "xn--bcher-kva.example")),
        (b"root@localhost", Mailbox("root", "localhost")),
    ],
)
def test_from_values_and_their_mailbox(value: bytes, expected: Mailbox) -> None:
    assert parse_from(value) == expected


_REFUSED = [
    # nothing, or nothing whole
    b"",
    b" ",
    b"<>",
    b"Joe",
    b"Joe <>",
    b"joe",
    b"@b.example",
    b"joe@",
    b"<joe@b.example",
    b"joe@b.example>",
    b"Joe joe@b.example",
    b"joe@b.example Joe",
    b"<joe@b.example> Joe",
    # more than one
    b"joe@b.example, eve@evil.example",
    b"<joe@b.example>, <eve@evil.example>",
    b"<joe@b.example> <eve@evil.example>",
    b"<joe@b.example><eve@evil.example>",
    b"joe@b.example <eve@evil.example>",
    b"<eve@evil.example> joe@b.example",
    b"joe@b.example,",
    b",joe@b.example",
    b"Public, Joe <joe@b.example>",
    b"joe@b.example; eve@evil.example",
    # groups
    b"friends: joe@b.example;",
    b"friends:;",
    b"undisclosed-recipients:;",
    b'"friends": Joe <joe@b.example>;',
    # routes
    b"<@evil.example:joe@b.example>",
    b"<@evil.example,@x.example:joe@b.example>",
    # comments
    b"(joe) joe@b.example",
    b"Joe (x) <joe@b.example>",
    b"Joe <joe@b.example> (x)",
    b"joe@b.example (x) (y)",
    b"joe@b.example ((x))",
    b"joe@b.example (x",
    b"joe@b.example (<eve@evil.example>)",
    b"joe@b.example (eve@evil.example)",
    b"joe@b.example (a, b)",
    b"joe@b.example (a\\) b)",
    b"joe@(x)b.example",
    b"joe(x)@b.example",
    b"<joe@b.example(x)>",
    b"<(x)joe@b.example>",
    "joe@b.example (Jörg)".encode(),
    # blanks where the address should be one word
    b"joe @b.example",
    b"joe@ b.example",
    b"joe@b .example",
    b"joe.\tx@b.example",
    b"< joe@b.example>",
    b"<joe@b.example >",
    b"<joe\r\n @b.example>",
    b"<joe@\r\n b.example>",
    # names that are no names
    b"joe@other.example <joe@b.example>",
    b"[Joe] <joe@b.example>",
    b". <joe@b.example>",
    b"Joe\\ <joe@b.example>",
    b'"Joe <joe@b.example>',
    b'Joe" <joe@b.example>',
    b'"Joe\\" <joe@b.example>',
    b'"a\\b" <joe@b.example>',
    b'"<eve@evil.example>" <joe@b.example>',
    b'"a > b" <joe@b.example>',
    b'"x\\" eve@evil.example \\"" <joe@b.example>',
    b'"x\\", eve@evil.example, \\"y" <joe@b.example>',
    b'"\x83\\\\" <joe@b.example>',  # Shift_JIS: the backslash is half a letter
    # the address itself
    b'"joe public"@b.example',
    b'"eve@evil.example"@b.example',
    b'"joe\\"x"@b.example',
    b"joe..x@b.example",
    b".joe@b.example",
    b"joe.@b.example",
    b"joe@b..example",
    b"joe@b.example.",
    b"joe@-b.example",
    b"joe@b_x.example",
    b"joe@[192.0.2.1]",
    b"<joe@[IPv6:::1]>",
    b"joe@b.example@evil.example",
    b"joe@b.example%evil",
    "jörg@b.example".encode(),
    "joe@bücher.example".encode(),
    b"=?utf-8?Q?joe?=@b.example",
    b"<=?utf-8?Q?joe?=@b.example>",
    b"=?utf-8?Q?joe=40b.example?=",
    b"joe@=?utf-8?Q?b?=.example",
    # encoded words that hide something, for readers that decode before they parse
    b"=?utf-8?Q?=3Ceve=40evil.example=3E?= <joe@b.example>",
    b"=?utf-8?B?PGV2ZUBldmlsLmV4YW1wbGU+?= <joe@b.example>",
    b"=?utf-8?B?ZXZlQGV2aWwuZXhhbXBsZSw=?= <joe@b.example>",
    b"=?us-ascii?Q?a=0D=0AFrom:_eve?= <joe@b.example>",
    b"=?utf-8?Q?a=00b?= <joe@b.example>",
    b"=?utf-7?Q?+ADw-eve+AEA-evil.example+AD4-?= <joe@b.example>",
    b"=?hz-gb-2312?Q?~{x?= <joe@b.example>",
    b"=?x-unknown?Q?abc?= <joe@b.example>",
    b"=??Q?abc?= <joe@b.example>",
    b"=?utf-8?B?PG$V2?= <joe@b.example>",
    b"=?utf-8?X?abc?= <joe@b.example>",
    b"=?utf-8?Q?abc <joe@b.example>",
    b"=?a?Q?=?utf-8?B?PGV2ZUBldmlsLmV4YW1wbGU+?= <joe@b.example>",
    b"=?utf-8?Q?a?=?utf-8?B?PGV2ZUBldmlsLmV4YW1wbGU+?= <joe@b.example>",
    b'"=?utf-8?B?PGV2ZUBldmlsLmV4YW1wbGU+?=" <joe@b.example>',
    b'=?utf-8?Q?=22?= "eve@evil.example" <joe@b.example>',
    b"joe@b.example (=?utf-8?B?PGV2ZUBldmlsLmV4YW1wbGU+?=)",
    # octets that have no place here
    b"Joe\x00 <joe@b.example>",
    b'"Joe\x00" <joe@b.example>',
    b"joe@b.example\x00",
    b"joe\x00@b.example",
    b"Joe\x1b[0m <joe@b.example>",
    b"Joe\x7f <joe@b.example>",
    b"Joe\n <joe@b.example>",
    b"Joe\r <joe@b.example>",
    b"Joe\x0b<joe@b.example>",
    b"joe@b.example\r\n",
    b"Joe\r\nX: <joe@b.example>",
    b"Joe\r\n \r\n <joe@b.example>",
    b"Joe <joe@b.example>\r\n ",
    # too much of it
    b"a" * 65 + b"@b.example",
    b"joe@" + b"b" * 64 + b".example",
    b"joe@" + b".".join([b"b" * 60] * 5),
    b"a" * address.FROM_LENGTH_MAX + b" <joe@b.example>",
]


@pytest.mark.parametrize("value", _REFUSED)
def test_from_values_that_are_refused(value: bytes) -> None:
    assert parse_from(value) is None


_FRAGMENTS = [
    *(bytes((octet,)) for octet in b'<>()@,;:\\".[] \tab1-'),
    b"\r\n ",
    b"\r\n",
    b"=?utf-8?Q?x?=",
    b"=?utf-8?Q?=3Cx=40y=2Ez=3E?=",
    b"joe@b.example",
    b"<joe@b.example>",
    b"eve@evil.example",
    b"\xc3\xb6",
    b"\x00",
    b'"',
    b"\\",
]
_VALUES = st.lists(st.sampled_from(_FRAGMENTS), max_size=14).map(b"".join)


@given(_VALUES | st.binary(max_size=60))
def test_no_value_breaks_the_parser_and_folds_change_nothing(value: bytes) -> None:
    found = parse_from(value)
    if found is not None:
        assert parse_path(str(found)) == found
        unfolded = value.replace(b"\r\n", b"")
        assert parse_from(unfolded) == found
        assert parse_from(unfolded.strip(b" \t")) == found


_LIKELY = st.one_of(
    st.lists(st.sampled_from(_FRAGMENTS), max_size=6).map(lambda parts: b"".join(parts) + b"<joe@b.example>"),
    st.lists(st.sampled_from(_FRAGMENTS), max_size=6).map(lambda parts: b'"' + b"".join(parts) + b'" <joe@b.example>'),
    st.lists(st.sampled_from(_FRAGMENTS), max_size=2).map(lambda parts: b"joe@b.example" + b"".join(parts)),
    _VALUES,
)


@given(_LIKELY)
def test_readers_of_other_habits_find_no_other_address(value: bytes) -> None:
    found = parse_from(value)
    if found is None:
        return
    unfolded = value.replace(b"\r\n", b"")
    # One that takes what stands in the first, or in the last, angle brackets.
    for brackets in (re.search(rb"<([^>]*)>", unfolded), re.search(rb"<([^<>]*)>[^<>]*\Z", unfolded)):
        if brackets is not None:
            assert brackets[1].decode().lower() == str(found).lower()
    # One that knows no backslash in quotes, and then splits at commas and takes the first address.
    bare = re.sub(rb'"[^"]*"', b"", unfolded)
    assert re.findall(rb"[^\s<>,()]+@[^\s<>,()]+", bare) == [str(found).encode()]
    # One that decodes before it parses.
    words = decode_all(unfolded)
    assert words is not None
    if words:
        assert not any(mark in word for word in words for mark in "<>@")


@given(_LIKELY)
def test_the_standard_library_reads_the_same_address(value: bytes) -> None:
    found = parse_from(value)
    if found is None:
        return
    spaced = value.replace(b".<", b". <")  # AttributeError in the email package of Python 3.11 for "Inc.<"
    message = BytesParser(policy=email.policy.default).parsebytes(b"From: " + spaced.strip(b" \t") + b"\r\n\r\n")
    addresses = cast("AddressHeader", message["From"]).addresses
    assert [(one.username, one.domain.lower()) for one in addresses] == [(found.local.strip('"'), found.domain)]
    text = value.replace(b"\r\n", b"").decode("latin-1")
    assert [address for _, address in email.utils.getaddresses([text])] == [str(found)]


def test_hostile_lengths_are_read_in_linear_steps() -> None:
    # Each of these makes a backtracking parser explode; that this test ends is the point.
    size = address.FROM_LENGTH_MAX - 40
    for filler in (
        b"a ",
        b"a.",
        b'"a"',
        b'"',
        b"\\",
        b'\\"',
        b"=?",
        b"=?a?Q?",
        b"?=",
        b"\r\n ",
        b"<",
        b"(",
        b".",
        b"a@",
    ):
        for tail in (b"", b"<joe@b.example", b'" <joe@b.example>'):
            parse_from(filler * (size // len(filler)) + tail)
            parse_from(b'"' + filler * (size // len(filler)) + tail)
