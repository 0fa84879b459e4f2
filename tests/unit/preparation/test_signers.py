from __future__ import annotations

import asyncio
import os
import signal

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from sekisho.preparation import signers as subject
from sekisho.preparation.signers import Signers, _Frames
from sekisho.wire.dkim import keys
from sekisho.wire.dkim.signature import Signer

RSA, ED25519 = keys.generate_rsa(), keys.generate_ed25519()
PAIR = (Signer("r", "rsa-sha256", RSA), Signer("e", "ed25519-sha256", ED25519))
DIGEST = bytes(range(32))

Asked = asyncio.Future[tuple[bytes, ...] | None]


def ask(signers: Signers, pair: tuple[Signer, ...] = PAIR, digest: bytes = DIGEST) -> Asked:
    future: Asked = asyncio.get_running_loop().create_future()
    signers.sign(pair, [digest] * len(pair), lambda found: future.set_result(None if found is None else tuple(found)))
    return future


def is_signed(found: tuple[bytes, ...] | None, digest: bytes = DIGEST) -> bool:
    assert found is not None
    RSA.public_key().verify(found[0], digest, PKCS1v15(), Prehashed(SHA256()))
    ED25519.public_key().verify(found[1], digest)
    return True


async def test_every_job_gets_its_own_signatures() -> None:
    signers = Signers.fork(2)
    await signers.connect(lambda: None)
    digests = [number.to_bytes(32, "big") for number in range(100)]

    asked = [ask(signers, digest=digest) for digest in digests]

    for found, digest in zip(await asyncio.gather(*asked), digests, strict=True):
        assert is_signed(found, digest)
    await signers.close()


async def test_what_cannot_be_signed_disturbs_nobody() -> None:
    signers = Signers.fork(1)
    await signers.connect(lambda: None)
    bad, good = ask(signers, digest=b"short"), ask(signers)

    assert await bad is None
    assert is_signed(await good)
    await signers.close()


async def test_only_so_many_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "KEYS_MAX", 2)
    other = (Signer("r2", "rsa-sha256", RSA), Signer("e2", "ed25519-sha256", ED25519))
    signers = Signers.fork(1)
    await signers.connect(lambda: None)

    for pair in (PAIR, other, PAIR):
        assert is_signed(await ask(signers, pair))
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

    assert await asked is None
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
    assert "secret" not in repr(subject._Learn(1, b"secret"))


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
