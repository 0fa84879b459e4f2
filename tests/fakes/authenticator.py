"""A security key in software: answers as browsers do, truthfully unless it is told to lie (WebAuthn §6)."""

from __future__ import annotations

import hashlib
import json
import secrets
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from sekisho.factors.passkeys import RelyingParty

_PRESENT, _VERIFIED, _ATTESTED = 0x01, 0x04, 0x40
_BACKUP_ELIGIBLE, _BACKED_UP = 0x08, 0x10


@dataclass
class Authenticator:
    """One device with one passkey per ``make``; attributes are what it (and the browser around it) says next."""

    rp: RelyingParty
    origin: str = ""
    rp_id: str = ""
    present: bool = True
    verified: bool = True
    backed_up: bool = False
    cross_origin: bool = False
    counts: bool = True
    count: int = 0
    tells_user: bool = True
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    user_handle: bytes = b""

    def __post_init__(self) -> None:
        self.origin = self.origin or self.rp.origin
        self.rp_id = self.rp_id or self.rp.id

    def make(self, options: str) -> str:
        """``navigator.credentials.create()``: the answer's JSON."""
        asked = json.loads(options)
        self.user_handle = decode(asked["user"]["id"])
        attested = (
            bytes(16)
            + struct.pack(">H", len(self.credential_id))
            + self.credential_id
            + cbor2.dumps(self._public_key())
        )
        statement = {"fmt": "none", "attStmt": {}, "authData": self._data(_ATTESTED) + attested}
        response = {
            "clientDataJSON": encode(self._client_data("webauthn.create", asked["challenge"])),
            "attestationObject": encode(cbor2.dumps(statement)),
            "transports": ["usb", "nfc", "carrier-pigeon"],
        }
        return self._answer(response)

    def show(self, options: str) -> str:
        """``navigator.credentials.get()``: the answer's JSON."""
        asked = json.loads(options)
        client_data = self._client_data("webauthn.get", asked["challenge"])
        if self.counts:
            self.count += 1
        data = self._data(0)
        signature = self.key.sign(data + hashlib.sha256(client_data).digest(), ec.ECDSA(hashes.SHA256()))
        response = {
            "clientDataJSON": encode(client_data),
            "authenticatorData": encode(data),
            "signature": encode(signature),
        }
        if self.tells_user:
            response["userHandle"] = encode(self.user_handle)
        return self._answer(response)

    def _answer(self, response: dict[str, Any]) -> str:
        name = encode(self.credential_id)
        return json.dumps({"id": name, "rawId": name, "type": "public-key", "response": response})

    def _client_data(self, kind: str, challenge: str) -> bytes:
        said = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.cross_origin}
        return json.dumps(said).encode()

    def _data(self, flags: int) -> bytes:
        flags |= _PRESENT * self.present | _VERIFIED * self.verified
        flags |= (_BACKUP_ELIGIBLE | _BACKED_UP) * self.backed_up
        return hashlib.sha256(self.rp_id.encode()).digest() + struct.pack(">BI", flags, self.count)

    def _public_key(self) -> dict[int, int | bytes]:
        """COSE (RFC 9053 §7.1.1): EC2, ES256, P-256."""
        numbers = self.key.public_key().public_numbers()
        return {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}


def encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "==")
