"""Signatures of relays: the bytes that a real Relay sent, and everything that must not pass."""

import base64
import json
from datetime import UTC, datetime
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sentry_relay.auth import generate_key_pair

from service.edge.registrations import ChallengeError, Challenges
from service.edge.rotating_secrets import RotatingSecret
from service.edge.signatures import SignatureError, decode_base64, parse_public_key, verify

_KEY: Final = "EYWvLRu0x_oyD7PmiVn8T2J0-KLpJ-EWntOyBMspybU"
_BODY: Final = b'{"global":true,"publicKeys":[]}'
_SIGNATURE: Final = (
    "SUPeW_3tvyxE9itU7Te4a1rKfWnVgAxtC5wkgRn5ehdKXM5AiSOkvYFtlFG_75NZVFg5hkZD-Np6insigIRWDA"
    ".eyJ0IjoiMjAyNi0xMS0yOVQxNDo0ODoyNC42MDM0MjQ0MTRaIn0"
)
_ENVELOPE_SIGNATURE: Final = (
    "_rC-CA2uQXa0XY2pyUI0wmaLY9k76f9k63ddX7KMp7mp870AirquvArnQGcYWX2TmqKO5mpFPOSu-0J6Rr9iDg"
    ".eyJ0IjoiMjAyNi0xMS0yOVQxNDo0ODoyNS4zNDgwNTE5NTRaIn0"
)
_SIGNED_AT: Final = datetime(2026, 11, 29, 14, 48, 25, tzinfo=UTC).timestamp()
_SEED: Final = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _signed(header: bytes, body: bytes = _BODY) -> str:
    """Return a signature by the key of the seed with any header."""
    key = Ed25519PrivateKey.from_private_bytes(decode_base64(_SEED))
    signature = key.sign(header + b"\0" + body)
    return f"{_encode(signature)}.{_encode(header)}"


_PUBLIC_KEY: Final = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"


def test_a_request_of_relay_is_valid() -> None:
    """Recorded from Relay 26.2.1; an envelope is signed over an empty body."""
    verify(_KEY, _SIGNATURE, _BODY, now=_SIGNED_AT)
    verify(_KEY, _ENVELOPE_SIGNATURE, b"", now=_SIGNED_AT)


def test_the_signature_of_sentrys_library_is_valid() -> None:
    """The wheel sentry-relay is the library that Sentry uses."""
    secret, public = generate_key_pair()
    verify(str(public), secret.sign(_BODY), _BODY, now=datetime.now(UTC).timestamp())


def test_the_public_key_of_a_seed_is_the_documented_one() -> None:
    """A vector for other implementations."""
    key = Ed25519PrivateKey.from_private_bytes(decode_base64(_SEED)).public_key()
    assert key == parse_public_key(_PUBLIC_KEY)


@pytest.mark.parametrize("seconds", [-301, 301, 10_000])
def test_a_signature_of_another_time_is_refused(seconds: float) -> None:
    """Otherwise a recorded request could be replayed for ever."""
    verify(_KEY, _SIGNATURE, _BODY, now=_SIGNED_AT + 299)
    with pytest.raises(SignatureError, match="300 s"):
        verify(_KEY, _SIGNATURE, _BODY, now=_SIGNED_AT + seconds)


@pytest.mark.parametrize("header", [b"{}", b'{"t":null}', b'{"t":5}', b'{"t":"soon"}', b"[]", b"no JSON", b'"t"'])
def test_a_signature_without_a_time_is_refused(header: bytes) -> None:
    """It is authentic, but would be valid for ever."""
    with pytest.raises(SignatureError, match="no valid time"):
        verify(_PUBLIC_KEY, _signed(header), _BODY, now=_SIGNED_AT)


def test_a_time_without_a_zone_and_another_algorithm_are_refused() -> None:
    """Only plain ed25519 is implemented; `v0` is its name."""
    time = "2026-11-29T14:48:25"
    with pytest.raises(SignatureError, match="time zone"):
        verify(_PUBLIC_KEY, _signed(json.dumps({"t": time}).encode()), _BODY, now=_SIGNED_AT)
    with pytest.raises(SignatureError, match="algorithm"):
        verify(_PUBLIC_KEY, _signed(json.dumps({"t": f"{time}Z", "a": "v1"}).encode()), _BODY, now=_SIGNED_AT)
    verify(_PUBLIC_KEY, _signed(json.dumps({"t": f"{time}Z", "a": "v0"}).encode()), _BODY, now=_SIGNED_AT)


@pytest.mark.parametrize(
    "signature",
    [
        "",
        ".",
        "a.b",
        _SIGNATURE[1:],
        _SIGNATURE.partition(".")[0],
        _SIGNATURE[:-4],
        _SIGNATURE.replace("eyJ0", "eyJ1"),
        _ENVELOPE_SIGNATURE,
        _SIGNATURE + "=",
        _SIGNATURE + ".x",
        "A" * 86 + "." + _SIGNATURE.partition(".")[2],
        "x" * 5000 + _SIGNATURE,
        _SIGNATURE + "é",
    ],
)
def test_a_changed_signature_is_refused(signature: str) -> None:
    """Truncated, of another body, padded, too long, or of other characters."""
    with pytest.raises(SignatureError):
        verify(_KEY, signature, _BODY, now=_SIGNED_AT)


@pytest.mark.parametrize("key", ["", _KEY[:-1], _KEY + "A", "!" * 43, "é" * 43])
def test_what_is_no_public_key_is_refused(key: str) -> None:
    """The file of relays and the challenge contain keys."""
    with pytest.raises(SignatureError):
        parse_public_key(key)


def test_a_challenge_is_valid_for_a_minute_for_one_relay_with_the_same_secret() -> None:
    """Nothing is stored: any replica with the secret checks it."""
    now = [1000.0]
    first, second = (Challenges(RotatingSecret("secret"), clock=lambda: now[0]) for _ in range(2))
    token = first.issue("relay", "key")
    assert second.check(token, "relay") == "key"
    for challenges, relay, changed in [
        (second, "another", token),
        (Challenges(RotatingSecret("another"), clock=lambda: now[0]), "relay", token),
        (second, "relay", token[:-1]),
        (second, "relay", "x" + token),
        (second, "relay", ""),
        (second, "relay", "\ud800:é"),
    ]:
        with pytest.raises(ChallengeError, match="Invalid challenge"):
            challenges.check(changed, relay)
    now[0] += 61
    with pytest.raises(ChallengeError, match="expired"):
        second.check(token, "relay")
