"""What tokens look like: those that are made here, and those that somebody brings along."""

import re
import secrets
from itertools import pairwise
from typing import Final

PREFIX: Final = "sntryu_"
"""Begins every token that is made here, so that scanners of leaked secrets know one."""

SHORTEST: Final = 32
"""Characters, the prefix not counted: 128 bits where they are hex digits."""

LONGEST: Final = 255
FEWEST_DIFFERENT: Final = 8
"""Different characters; of ten million random texts of hex digits less than one has so few."""

_FORM: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_WORDS: Final = ("password", "passwd", "changeme", "secret", "example", "placeholder", "letmein")


def new_token() -> str:
    """256 random bits."""
    return PREFIX + secrets.token_hex(32)


def weakness(token: str) -> str | None:
    """Why a token that was not made here could be guessed or could not be sent, as the rest of "a token …"."""
    text = token.removeprefix(PREFIX)
    if not (len(text) >= SHORTEST and len(token) <= LONGEST):
        return f"has {SHORTEST} to {LONGEST} characters"
    if not _FORM.fullmatch(token):
        return "has only letters, digits and -._~+/, and = at its end"
    if len(set(text)) < FEWEST_DIFFERENT:
        return f"has {FEWEST_DIFFERENT} different characters or more"
    if any(word in text.lower() for word in _WORDS):
        return "holds no word that everybody tries first"
    if _repeats(text) or _counts(text):
        return "is random: take `openssl rand -hex 32`"
    return None


def _repeats(text: str) -> bool:
    """Whether it is a part of itself again and again."""
    return any(text[period:] == text[:-period] for period in range(1, len(text) // 2 + 1))


def _counts(text: str) -> bool:
    """Whether most characters are the neighbours of those before them, as in 0123 or zyx."""
    steps = [abs(ord(after) - ord(before)) for before, after in pairwise(text)]
    return 3 * sum(step <= 1 for step in steps) > 2 * len(steps)
