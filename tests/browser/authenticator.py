"""A passkey's device that Chromium plays itself."""

from __future__ import annotations

from typing import Final

from playwright.sync_api import Page


class Authenticator:
    """Built in, keeps discoverable credentials, knows its owner; plugged in until the page ends."""

    def __init__(self, page: Page) -> None:
        self._devtools: Final = page.context.new_cdp_session(page)
        self._devtools.send("WebAuthn.enable")
        self._id: Final = self._devtools.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2",
                    "ctap2Version": "ctap2_1",
                    "transport": "internal",
                    "hasResidentKey": True,
                    "hasUserVerification": True,
                    "isUserVerified": True,
                    "automaticPresenceSimulation": True,
                }
            },
        )["authenticatorId"]

    @property
    def credentials(self) -> int:
        """How many it holds."""
        found = self._devtools.send("WebAuthn.getCredentials", {"authenticatorId": self._id})
        return len(found["credentials"])

    def recognise(self, *, owner: bool) -> None:
        """Whether the next finger on it is its owner's."""
        self._devtools.send("WebAuthn.setUserVerified", {"authenticatorId": self._id, "isUserVerified": owner})
