from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.wire.smtp.framing import Content, ContentFault, ContentLimits, ContentReader, LineBuffer, LineFault

ROOMY = ContentLimits(size_bytes=1 << 20, header_bytes=1 << 16, header_fields=100)
TIGHT = ContentLimits(size_bytes=60, header_bytes=30, header_fields=3)


def read(stream: bytes, cuts: list[int] | None = None, limits: ContentLimits = ROOMY) -> object:
    """What a reader makes of a stream: (what, leftover), or None when the end never came."""
    reader = ContentReader(limits)
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts or [])})
    for start, end in itertools.pairwise(edges):
        rest = reader.feed(stream[start:end])
        if rest is not None:
            rest += stream[end:]
            if reader.fault is not None:
                return reader.fault, rest
            content = reader.content()
            return (content.header, content.body, content.eight_bit, content.size_bytes), rest
    return None


def every_octet(stream: bytes) -> list[int]:
    return list(range(len(stream)))


@pytest.mark.parametrize(
    ("stream", "header", "body"),
    [
        (b".\r\n", b"", b""),
        (b"\r\n.\r\n", b"", b""),
        (b"A: b\r\n.\r\n", b"A: b\r\n", b""),
        (b"A: b\r\n\r\n.\r\n", b"A: b\r\n", b""),
        (b"A: b\r\n\r\nhello\r\n.\r\n", b"A: b\r\n", b"hello\r\n"),
        (b"A: b\r\n\r\n..\r\n.\r\n", b"A: b\r\n", b".\r\n"),
        (b"A: b\r\n\r\n...x\r\n..y\r\n.z\r\n.\r\n", b"A: b\r\n", b"..x\r\n.y\r\nz\r\n"),
        (b"..A: b\r\n\r\n.\r\n", b".A: b\r\n", b""),
        (b"A: b\r\n\r\n\r\n\r\n.\r\n", b"A: b\r\n", b"\r\n\r\n"),
        (b"\r\nbody\r\n.\r\n", b"", b"body\r\n"),
        (b"A: b\r\n\r\n" + b"x" * 998 + b"\r\n.\r\n", b"A: b\r\n", b"x" * 998 + b"\r\n"),
        (b"A: b\r\n\r\n.." + b"x" * 997 + b"\r\n.\r\n", b"A: b\r\n", b"." + b"x" * 997 + b"\r\n"),
    ],
)
def test_content_is_read_to_its_end_and_unstuffed(stream: bytes, header: bytes, body: bytes) -> None:
    size = len(header) + len(body) + (2 if stream.startswith(b"\r\n") or b"\r\n\r\n" in stream else 0)
    expected = (header, body, False, size)
    assert read(stream + b"NOOP\r\n") == (expected, b"NOOP\r\n")
    assert read(stream + b"NOOP\r\n", every_octet(stream)) == (expected, b"NOOP\r\n")


# Every way that somebody was known to end content without CRLF.CRLF (SMTP smuggling, SEC Consult 2023, and its kin).
FALSE_ENDS = [
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\n\n.\r\n",
    b"\r\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b"\r\n.\0\r\n",
    b"\r\n.\r\0\n",
    b"\n\r.\r\n",
    b"\n\r\n.\n",
    b"\r\n.\r\r\n",
]


@pytest.mark.parametrize("false_end", FALSE_ENDS)
def test_nothing_but_crlf_dot_crlf_ends_content(false_end: bytes) -> None:
    smuggled = b"MAIL FROM:<evil@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nFrom: x\r\n\r\nspam"
    stream = b"From: a\r\n\r\nhello" + false_end + smuggled + b"\r\n.\r\nQUIT\r\n"
    for cuts in (None, every_octet(stream), [20], [17, 18, 19]):
        found = read(stream, cuts)
        assert isinstance(found, tuple)
        assert found[0] in (ContentFault.BARE_LINE_END, ContentFault.NUL)
        assert found[1] == b"QUIT\r\n"


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        (b"A: b\r\n\r\n" + b"x" * 999 + b"\r\n.\r\n", ContentFault.LONG_LINE),
        (b"A: b\r\n\r\n" + b"x" * 100_000 + b"\r\n.\r\n", ContentFault.LONG_LINE),
        (b"A: b\r\n\r\n." + b"x" * 999 + b"\r\n.\r\n", ContentFault.LONG_LINE),
        (b"A: " + b"b" * 1000 + b"\r\n\r\n.\r\n", ContentFault.LONG_LINE),
        (b"A: b\r\n\r\n\0\r\n.\r\n", ContentFault.NUL),
        (b"A: b\r\n\r\na\rb\r\n.\r\n", ContentFault.BARE_LINE_END),
        (b"A: b\r\n\r\na\nb\r\n.\r\n", ContentFault.BARE_LINE_END),
        (b"A: b\nB: c\r\n\r\n.\r\n", ContentFault.BARE_LINE_END),
    ],
)
def test_bad_content_is_refused_at_its_real_end(stream: bytes, fault: ContentFault) -> None:
    assert read(stream + b"next") == (fault, b"next")
    assert read(stream + b"next", every_octet(stream)[-50:]) == (fault, b"next")
    assert read(stream + b"next", every_octet(stream)[:50]) == (fault, b"next")


@pytest.mark.parametrize(
    ("stream", "fault"),
    [
        (b"A: b\r\n\r\n" + b"x" * 50 + b"\r\n.\r\n", None),
        (b"A: b\r\n\r\n" + b"x" * 51 + b"\r\n.\r\n", ContentFault.TOO_LARGE),
        (b"A: " + b"b" * 25 + b"\r\n\r\n.\r\n", None),
        (b"A: " + b"b" * 26 + b"\r\n\r\n.\r\n", ContentFault.HEADER_TOO_LARGE),
        (b"A: " + b"b" * 26 + b"\r\n.\r\n", ContentFault.HEADER_TOO_LARGE),
        (b"A:\r\nB:\r\nC:\r\n\r\n.\r\n", None),
        (b"A:\r\nB:\r\nC:\r\nD:\r\n\r\n.\r\n", ContentFault.TOO_MANY_FIELDS),
        (b"A:\r\n b\r\n\tc\r\n d\r\n\r\n.\r\n", None),
        (b"A:\r\n b\r\n\tc\r\n d\r\nB:\r\nC:\r\n.\r\n", None),
        (b"A:\r\n b\r\nB:\r\nC:\r\n\r\nbody\r\nbody\r\nbody\r\nbody\r\n.\r\n", None),
    ],
)
def test_bounds_of_a_message_are_exact(stream: bytes, fault: ContentFault | None) -> None:
    for cuts in (None, every_octet(stream), [9], [5, 13, 21]):
        found = read(stream + b"next", cuts, TIGHT)
        assert isinstance(found, tuple)
        assert found[1] == b"next"
        assert (found[0] if isinstance(found[0], ContentFault) else None) == fault


def test_stuffing_dots_do_not_count_as_size() -> None:
    limits = ContentLimits(size_bytes=10, header_bytes=100, header_fields=3)
    assert read(b"\r\n" + b"..\r\n" * 2 + b"..\r\n.\r\n", limits=limits) == (ContentFault.TOO_LARGE, b"")
    assert read(b"\r\n" + b"..\r\n" * 2 + b".a\r\n.\r\n", limits=limits) == (ContentFault.TOO_LARGE, b"")
    assert read(b"\r\n" + b"..\r\n" * 2 + b"\r\n.\r\n", limits=limits) == ((b"", b".\r\n.\r\n\r\n", False, 10), b"")


def test_memory_stays_bounded_whatever_comes() -> None:
    limits = ContentLimits(size_bytes=5000, header_bytes=1000, header_fields=100)
    for filler in (b"x", b"x" * 97 + b"\r\n", b"\n", b"\r", b"A: b\r\n", b"\0", b"..\r\n"):
        reader = ContentReader(limits)
        for _ in range(20_000 // len(filler)):
            assert reader.feed(filler) is None
            assert reader.held_bytes <= 5000 + 1002


def test_body_can_be_taken_out_while_it_comes() -> None:
    reader = ContentReader(ROOMY)
    assert reader.feed(b"A: b\r\n\r\none\r\n") is None
    assert reader.body_bytes == 5
    assert reader.take_body() == b"one\r\n"
    assert reader.take_body() == b""
    assert reader.feed(b"two\r\n.\r\n") == b""
    assert reader.body_bytes == 5


def test_eight_bit_is_noticed_in_header_and_body() -> None:
    assert read(b"A: \xc3\xa4\r\n\r\nx\r\n.\r\n") == ((b"A: \xc3\xa4\r\n", b"x\r\n", True, 12), b"")
    assert read(b"A: b\r\n\r\n\xff\r\n.\r\n") == ((b"A: b\r\n", b"\xff\r\n", True, 11), b"")


pieces = st.lists(
    st.sampled_from(
        [
            b"\r\n",
            b"\r\n.\r\n",
            b".",
            b"\r",
            b"\n",
            b"\0",
            b"a",
            b"A: b\r\n",
            b" c\r\n",
            b"x" * 990,
            b"\r\n\r\n",
            b"\xff",
        ]
    ),
    max_size=30,
).map(b"".join)
cut_points = st.lists(st.integers(0, 1 << 16), max_size=30)


@given(stream=pieces, cuts=cut_points)
def test_chunking_never_changes_what_was_heard(stream: bytes, cuts: list[int]) -> None:
    for limits in (ROOMY, TIGHT):
        whole = read(stream, limits=limits)
        pieced = read(stream, cuts, limits)
        if isinstance(whole, tuple) and isinstance(pieced, tuple):
            # Several faults may be in one message: which is met first depends on the chunks, that it is bad does not.
            assert pieced[1] == whole[1]
            assert isinstance(pieced[0], ContentFault) == isinstance(whole[0], ContentFault)
            if not isinstance(whole[0], ContentFault):
                assert pieced == whole
        else:
            assert pieced is whole is None


@given(stream=pieces, cuts=cut_points)
def test_content_is_what_a_line_by_line_reader_reads(stream: bytes, cuts: list[int]) -> None:
    judged = read(stream, cuts)
    assert judged is None or (isinstance(judged, tuple) and judged[0] in _naive(stream))


def _naive(stream: bytes) -> list[object]:
    """RFC 5321 §4.5.2 by the book; a list, as one message can be bad in several ways."""
    end = (b"\r\n" + stream).index(b"\r\n.\r\n")
    text = stream[:end]
    lines = text.split(b"\r\n")[:-1] if text else []
    lines = [line[1:] if line.startswith(b".") else line for line in lines]
    faults: list[object] = []
    if any(b"\r" in line or b"\n" in line for line in lines):
        faults.append(ContentFault.BARE_LINE_END)
    if any(b"\0" in line for line in lines):
        faults.append(ContentFault.NUL)
    if any(len(line) > 998 for line in text.replace(b"\r\n.", b"\r\n").replace(b"\n", b"\r").split(b"\r")) or any(
        len(line) > 998 for line in lines
    ):
        faults.append(ContentFault.LONG_LINE)
    if faults:
        return faults
    header, _, body = b"".join(line + b"\r\n" for line in lines).partition(b"\r\n\r\n")
    whole = b"".join(line + b"\r\n" for line in lines)
    if whole.startswith(b"\r\n"):
        header, body = b"", whole[2:]
    elif b"\r\n\r\n" in whole:
        header += b"\r\n"
    else:
        header, body = whole, b""
    return [(header, body, not whole.isascii(), len(whole))]


@given(body=st.lists(st.binary(max_size=60).map(lambda b: b.translate(None, b"\r\n\0")), max_size=20), cuts=cut_points)
def test_stuff_then_read_is_identity(body: list[bytes], cuts: list[int]) -> None:
    text = b"".join(line + b"\r\n" for line in body)
    stuffed = b"A: b\r\n\r\n" + b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in body)
    found = read(stuffed + b".\r\n", cuts)
    assert found == ((b"A: b\r\n", text, not text.isascii(), 8 + len(text)), b"")


def test_lines_come_out_one_by_one() -> None:
    buffer = LineBuffer()
    buffer.append(b"EHLO a\r\nNO")
    assert buffer.line(100) == b"EHLO a"
    assert buffer.line(100) is None
    assert len(buffer) == 2
    buffer.append(b"OP\r\n\r\nrest")
    assert buffer.line(100) == b"NOOP"
    assert buffer.line(100) == b""
    assert buffer.rest() == b"rest"
    assert len(buffer) == 0


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"NOOP\n", LineFault.BROKEN),
        (b"\n", LineFault.BROKEN),
        (b"NO\rOP\r\n", LineFault.BROKEN),
        (b"NOOP\r\r\n", LineFault.BROKEN),
        (b"NO\0OP\r\n", LineFault.BROKEN),
        (b"x" * 101, LineFault.TOO_LONG),
        (b"x" * 101 + b"\r\n", LineFault.TOO_LONG),
        (b"x" * 100 + b"\r\n", None),
    ],
)
def test_a_line_that_is_no_line_is_a_fault(data: bytes, fault: LineFault | None) -> None:
    buffer = LineBuffer()
    buffer.append(data)
    found = buffer.line(100)
    assert found == fault if fault else isinstance(found, bytes)


def test_a_line_of_the_limit_may_be_cut_within_its_end() -> None:
    buffer = LineBuffer()
    buffer.append(b"x" * 100 + b"\r")
    assert buffer.line(100) is None
    buffer.append(b"\n")
    assert buffer.line(100) == b"x" * 100


def test_content_value_is_plain() -> None:
    assert Content(b"A: b\r\n", b"", eight_bit=False, size_bytes=6).header == b"A: b\r\n"
