from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sekisho.wire.dkim import keys


@pytest.fixture(scope="session")
def rsa_key() -> RSAPrivateKey:
    return keys.generate_rsa()


@pytest.fixture(scope="session")
def ed25519_key() -> Ed25519PrivateKey:
    return keys.generate_ed25519()
