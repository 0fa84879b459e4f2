"""Input for a target without a coverage-guided fuzzer: octets, words of the language, and seeds put together anew."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.catalogue import Target, seeds


def inputs_of(target: Target) -> st.SearchStrategy[bytes]:
    words = st.sampled_from(target.tokens)
    texts = st.lists(words | st.binary(max_size=6), max_size=40).map(b"".join)
    whole = st.sampled_from(seeds(target.name))
    changed = st.builds(_changed, whole, st.integers(0, 4095), st.integers(0, 30), texts)
    spliced = st.builds(_spliced, whole, st.integers(0, 4095), whole, st.integers(0, 4095))
    return st.binary(max_size=200) | texts | changed | spliced


def sample(run: Callable[[bytes], None], strategy: st.SearchStrategy[bytes], examples: int) -> None:
    """Try so many inputs; raises what the smallest of those that fail raised."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings(max_examples=examples, deadline=None, database=None, suppress_health_check=checks)(given(strategy)(run))()


def _changed(text: bytes, at: int, gone: int, new: bytes) -> bytes:
    at %= len(text) + 1
    return text[:at] + new + text[at + gone :]


def _spliced(first: bytes, end: int, second: bytes, start: int) -> bytes:
    return first[: end % (len(first) + 1)] + second[start % (len(second) + 1) :]
