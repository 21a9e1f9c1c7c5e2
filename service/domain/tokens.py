"""The form of tokens: of those that the service generates, and of those that were generated elsewhere."""

import re
import secrets
from itertools import pairwise
from typing import Final

PREFIX: Final = "sntryu_"
"""The prefix of generated tokens, by which scanners for leaked secrets recognize them."""

MIN_LENGTH: Final = 32
"""Characters without the prefix: 128 bits if they are hex digits."""

MAX_LENGTH: Final = 255
MIN_DIFFERENT_CHARACTERS: Final = 8
"""Less than one in ten million random strings of 32 hex digits has fewer."""

_FORM: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_COMMON_WORDS: Final = ("password", "passwd", "changeme", "secret", "example", "placeholder", "letmein")


def new_token() -> str:
    """Return a token of 256 random bits."""
    return PREFIX + secrets.token_hex(32)


def violated_rule(token: str) -> str | None:
    """Return what a token that was generated elsewhere must do, such as "be random"; None if it is acceptable."""
    text = token.removeprefix(PREFIX)
    if not (len(text) >= MIN_LENGTH and len(token) <= MAX_LENGTH):
        return f"have {MIN_LENGTH} to {MAX_LENGTH} characters"
    if not _FORM.fullmatch(token):
        return "have only letters, digits and -._~+/, and = at its end"
    if len(set(text)) < MIN_DIFFERENT_CHARACTERS:
        return f"have {MIN_DIFFERENT_CHARACTERS} different characters or more"
    if any(word in text.lower() for word in _COMMON_WORDS):
        return "not contain a common word"
    if _is_periodic(text) or _is_sequential(text):
        return "be random: use `openssl rand -hex 32`"
    return None


def _is_periodic(text: str) -> bool:
    return any(text[period:] == text[:-period] for period in range(1, len(text) // 2 + 1))


def _is_sequential(text: str) -> bool:
    """Return whether most characters are equal to or next to their predecessors, as in 0123 or zyx."""
    steps = [abs(ord(after) - ord(before)) for before, after in pairwise(text)]
    return 3 * sum(step <= 1 for step in steps) > 2 * len(steps)
