from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.preparation import signers as subject
from sekisho.preparation.signers import DamagedBodyError, NotSignedError, Signers, Wish, _Frames
from sekisho.queue.model import BodyFile
from sekisho.wire.dkim import keys
from sekisho.wire.dkim.canonical import body_hash
from sekisho.wire.dkim.signature import Signer, sign

RSA, ED25519 = keys.generate_rsa(), keys.generate_ed25519()
PAIR = (Signer("r", "rsa-sha256", RSA), Signer("e", "ed25519-sha256", ED25519))
HEADER = b"From: a@example.test\r\nSubject: hi\r\n"
BODY = b"Hello\r\n"
NOW_S = 1_790_000_000

Asked = asyncio.Future[bytes | NotSignedError]


def ask(
    signers: Signers, pair: tuple[Signer, ...] = PAIR, body: bytes | BodyFile = BODY, header: bytes = HEADER
) -> Asked:
    future: Asked = asyncio.get_running_loop().create_future()
    signers.sign(Wish(header, body, "example.test", pair, NOW_S, NOW_S + 60), future.set_result)
    return future


def is_signed(found: bytes | NotSignedError, body: bytes = BODY, pair: tuple[Signer, ...] = PAIR) -> bool:
    """Both algorithms are deterministic: the fields are those that would be made here."""
    return found == sign(HEADER, body_hash(body), domain="example.test", signers=pair, at_s=NOW_S, expires_s=NOW_S + 60)


async def test_every_job_gets_its_own_signatures() -> None:
    signers = Signers.fork(2)
    await signers.connect(lambda: None)
    bodies = [b"%d\r\n" % number for number in range(100)]

    asked = [ask(signers, body=body) for body in bodies]

    for found, body in zip(await asyncio.gather(*asked), bodies, strict=True):
        assert is_signed(found, body)
    await signers.close()


async def test_while_it_gives_way_every_job_still_gets_its_own() -> None:
    way = [True]
    signers = Signers.fork(2)
    await signers.connect(lambda: None, gives_way=lambda: way[0])
    bodies = [b"%d\r\n" % number for number in range(100)]
    # Several pairs: what is to be learnt stands between the jobs.
    pairs = [(Signer(f"s{number % 7}", "ed25519-sha256", ED25519),) for number in range(100)]

    asked = [ask(signers, body=body, pair=pair) for body, pair in zip(bodies, pairs, strict=True)]
    await asked[30]
    way[0] = False

    for found, body, pair in zip(await asyncio.gather(*asked), bodies, pairs, strict=True):
        assert is_signed(found, body, pair)
    await signers.close()


async def test_while_it_gives_way_a_process_has_one_job() -> None:
    signers = Signers.fork(1)
    await signers.connect(lambda: None, gives_way=lambda: True)
    (process,) = signers._processes
    asked = [ask(signers, body=b"%d\r\n" % number) for number in range(10)]
    sent: list[int] = []
    for one in asked:
        one.add_done_callback(lambda _: sent.append(len(process) - process._waiting))

    await asyncio.gather(*asked)

    assert max(sent) <= 1
    await signers.close()


async def test_a_body_in_a_file_is_read_there(tmp_path: Path) -> None:
    body = b"line  with\tblanks \r\n" * 40_000
    file = tmp_path / "body"
    file.write_bytes(body)
    signers = Signers.fork(1)
    await signers.connect(lambda: None)

    assert is_signed(await ask(signers, body=BodyFile(file, len(body))), body)
    await signers.close()


async def test_what_cannot_be_signed_disturbs_nobody(tmp_path: Path) -> None:
    signers = Signers.fork(1)
    await signers.connect(lambda: None)
    (tmp_path / "cut").write_bytes(b"half a message\r\n")
    bad = [
        ask(signers, header=b"To: x@example.com\r\n"),
        ask(signers, body=BodyFile(tmp_path / "gone", 1)),
        ask(signers, body=BodyFile(tmp_path / "cut", 32)),
        ask(signers, body=BodyFile(tmp_path / "cut", 16, 0)),
    ]
    good = ask(signers)

    faults = await asyncio.gather(*bad)
    assert [isinstance(fault, DamagedBodyError) for fault in faults] == [False, False, True, True]
    assert [str(fault) for fault in faults] == [
        "ValueError: a header without From cannot be signed",
        f"FileNotFoundError: [Errno 2] No such file or directory: '{tmp_path}/gone'",
        "cut does not have the 32 bytes that were written",
        "the checksum of cut does not match",
    ]
    assert is_signed(await good)
    await signers.close()


async def test_only_so_many_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "KEYS_MAX", 2)
    other = (Signer("r2", "rsa-sha256", RSA), Signer("e2", "ed25519-sha256", ED25519))
    signers = Signers.fork(1)
    await signers.connect(lambda: None)

    for pair in (PAIR, other, PAIR):
        assert is_signed(await ask(signers, pair), pair=pair)
        assert len(signers._processes[0]._numbers) == 2
    await signers.close()


async def test_a_killed_process_is_noticed_and_its_jobs_are_answered() -> None:
    signers = Signers.fork(1)
    lost = asyncio.Event()
    await signers.connect(lost.set)
    ((pid, _),) = signers._forked
    os.kill(pid, signal.SIGSTOP)
    asked = ask(signers)
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)

    assert isinstance(await asked, NotSignedError)
    await lost.wait()
    await signers.close()


async def test_a_process_ends_with_its_worker_and_not_with_a_signal_to_the_group() -> None:
    signers = Signers.fork(1)
    await signers.connect(lambda: None)
    ((pid, _),) = signers._forked
    assert is_signed(await ask(signers))
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)

    assert is_signed(await ask(signers))
    await signers.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_key_is_not_shown() -> None:
    assert "secret" not in repr(subject._Learn(1, "s", "rsa-sha256", b"secret"))


@given(st.lists(st.binary(max_size=30)), st.lists(st.integers(1, 20)))
def test_frames_come_out_whole_however_they_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(subject._LENGTH.pack(len(body)) + body for body in bodies)
    frames = _Frames()
    found: list[bytes] = []
    for cut in cuts:
        found += frames.feed(stream[:cut])
        stream = stream[cut:]
    found += frames.feed(stream)

    assert found == bodies
