"""Verifies the signatures of relays.

The value is `<signature>.<header>`, both base64url without padding. The header is JSON with the time of the
signature; signed are its bytes as sent, a zero byte, and the body.
"""

import base64
import re
from datetime import datetime
from functools import lru_cache
from typing import Final

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MAX_AGE: Final = 300.0
"""Seconds by which the time of a signature may differ from this process's clock; otherwise a recorded request could
be replayed for ever."""

_MAX_LENGTH: Final = 1024
"""Characters of the header; Relay's have 200."""

_ENCODED: Final = re.compile(r"[A-Za-z0-9_-]+")
_KEY_LENGTH: Final = 43
_PLAIN_ALGORITHMS: Final = (None, "v0")


class SignatureError(Exception):
    """A signature, or the key to verify it, is not valid; the message gives the reason and is sent to the relay."""


def decode_base64(text: str) -> bytes:
    """Decode base64url without padding.

    Raises:
        SignatureError: The text is not base64url.
    """
    if not _ENCODED.fullmatch(text) or len(text) % 4 == 1:
        raise SignatureError("not base64url without padding")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@lru_cache(maxsize=1024)
def parse_public_key(text: str) -> Ed25519PublicKey:
    """Return the public key of a relay.

    Raises:
        SignatureError: The text is not a key.
    """
    if len(text) != _KEY_LENGTH:
        raise SignatureError(f"public_key must have {_KEY_LENGTH} characters")
    try:
        return Ed25519PublicKey.from_public_bytes(decode_base64(text))
    except ValueError:
        raise SignatureError("public_key is not a key") from None


def verify(public_key: str, signature: str, body: bytes, *, now: float) -> None:
    """Verify the signature of a request.

    Args:
        public_key: The relay's key.
        signature: The value of the header.
        body: The body as received.
        now: The current time (Unix time, seconds).

    Raises:
        SignatureError: The signature is malformed, wrong, too old or of the future.
    """
    encoded, _, encoded_header = signature.partition(".")
    if len(signature) > _MAX_LENGTH:
        raise SignatureError("the signature is too long")
    header = decode_base64(encoded_header)
    try:
        parse_public_key(public_key).verify(decode_base64(encoded), header + b"\0" + body)
    except InvalidSignature:
        raise SignatureError("the signature is wrong") from None
    if abs(now - _signed_at(header)) > MAX_AGE:
        raise SignatureError(f"the signature is not of the last {MAX_AGE:g} s by the clock of this server")


def _signed_at(header: bytes) -> float:
    """Return the time in the header, which is authentic."""
    try:
        members = orjson.loads(header)
        if members.get("a") not in _PLAIN_ALGORITHMS:
            raise SignatureError("the signature has another algorithm than v0, plain ed25519")
        signed_at = datetime.fromisoformat(members["t"])
    except (ValueError, TypeError, KeyError, AttributeError):
        raise SignatureError("the signature has no valid time") from None
    if signed_at.tzinfo is None:
        raise SignatureError("the time of the signature has no time zone")
    return signed_at.timestamp()
