"""The challenges of registration: tokens that any replica with the same secret can check."""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from typing import Final

import orjson

from service.edge.rotating_secrets import RotatingSecret

_MAX_AGE: Final = 60.0
"""Seconds between challenge and response."""


class ChallengeError(Exception):
    """The token of a challenge is not valid; the message gives the reason and may be sent to the relay."""


class Challenges:
    """Issues and checks the tokens of challenges, which contain relay, key and time; nothing is stored.

    Args:
        secret: Authenticates the tokens.
        clock: Returns seconds since 1970.
    """

    def __init__(self, secret: RotatingSecret, *, clock: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._clock = clock

    def issue(self, relay_id: str, public_key: str) -> str:
        """Return a token for a relay."""
        content = orjson.dumps([self._clock(), relay_id, public_key, secrets.token_hex(16)])
        encoded = base64.urlsafe_b64encode(content).decode()
        return f"{encoded}:{_digest(encoded, self._secret.current)}"

    def check(self, token: str, relay_id: str) -> str:
        """Check a token and return the public key that it contains.

        Raises:
            ChallengeError: The token was not issued for this relay within the last minute.
        """
        encoded, _, digest = token.partition(":")
        expected = [_digest(encoded, secret).encode() for secret in self._secret.accepted]
        if not any(hmac.compare_digest(each, digest.encode(errors="replace")) for each in expected):
            raise ChallengeError("Invalid challenge")
        issued_at, challenged_id, public_key, _ = orjson.loads(base64.urlsafe_b64decode(encoded))
        if challenged_id != relay_id:
            raise ChallengeError("Invalid challenge")
        if self._clock() - issued_at > _MAX_AGE:
            raise ChallengeError("Challenge expired")
        return str(public_key)


def _digest(encoded: str, secret: bytes) -> str:
    return hmac.new(secret, encoded.encode(errors="replace"), hashlib.sha512).hexdigest()
