"""The server's TLS context: what it speaks, and the certificate, from bytes in memory.

A new certificate is a new context: loading into one that is in use would keep the old certificate beside it when the
kind of key changes, and a failure halfway would leave it unfit. What fails here has changed nothing.
"""

from __future__ import annotations

import os
import ssl

from sekisho.secret import Secret

MINIMUM_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

# Forward secrecy and authenticated encryption only (RFC 9325 §4.2). TLS 1.3 has its own list, all of that kind.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"


class CertificateError(Exception):
    """Chain and key do not fit, or are not what they should be."""


def server_context(chain: bytes, key: Secret[bytes], minimum_version: str = "1.2") -> ssl.SSLContext:
    """Make a context for the server's side; ``chain`` and ``key`` are PEM. Raises CertificateError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = MINIMUM_VERSIONS[minimum_version]
    context.set_ciphers(CIPHERS)
    # Renegotiation is a way to make the server work for nothing; compression leaks (CRIME).
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # Each ticket is a write of its own after the handshake; a client resumes with one as well as with two.
    context.num_tickets = 1
    _load(context, chain, key)
    return context


def _load(context: ssl.SSLContext, chain: bytes, key: Secret[bytes]) -> None:
    # OpenSSL's Python face takes file names only. A memfd has none on any disk, and the key is gone with it.
    chain_fd, key_fd = _memory_file("chain", chain), _memory_file("key", key.reveal())
    try:
        context.load_cert_chain(f"/proc/self/fd/{chain_fd}", f"/proc/self/fd/{key_fd}", password=_no_password)
    except (ssl.SSLError, OSError, ValueError) as error:
        message = f"the TLS certificate and key cannot be used: {getattr(error, 'reason', None) or error}"
        raise CertificateError(message) from error
    finally:
        os.close(chain_fd)
        os.close(key_fd)


def _memory_file(name: str, content: bytes) -> int:
    descriptor = os.memfd_create(f"sekisho-{name}", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(content)
    return descriptor


def _no_password() -> str:
    # Without this OpenSSL asks on the terminal.
    message = "the private key is encrypted"
    raise ValueError(message)
