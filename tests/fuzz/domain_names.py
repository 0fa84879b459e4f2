"""Domain names as people write them: no text raises, and what is taken is a public name in the DNS's spelling."""

from __future__ import annotations

import dns.name

from sekisho.ports.dns import ascii_name
from sekisho.wire.mail.address import is_domain, is_local_name

TOKENS = (
    "bücher.example".encode(), b"xn--bcher-kva.example", b"xn--", b".", "。".encode(), "．".encode(), "ß".encode(),
    "\u200d".encode(), "\u200c".encode(), "İ".encode(), "ａ".encode(), "א".encode(), "ا".encode(), b"-", b"1", b"0x7f",
    "１２７".encode(), b"localhost", b"example", "\u0301".encode(), "\U000e0001".encode(), b"a" * 63, b"a." * 100,
)  # fmt: skip


def target(data: bytes) -> None:
    name = ascii_name(data.decode("utf-8", "replace"))
    if name is None:
        return
    assert is_domain(name)
    assert not is_local_name(name)
    assert name == name.lower()
    assert ascii_name(name) == name
    assert ascii_name(name.upper() + ".") == name
    assert dns.name.from_text(name, dns.name.root).to_text(omit_final_dot=True) == name
