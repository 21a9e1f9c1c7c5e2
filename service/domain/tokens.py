"""Tokens: what is known about one, their format, and the rules for tokens that were generated elsewhere."""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final

from service.domain.events import time_to_json

PREFIX: Final = "sntryu_"
"""The prefix of generated tokens, by which secret scanners recognize them."""

MIN_LENGTH: Final = 32
"""Characters without the prefix: 128 bits in hex digits."""

MAX_LENGTH: Final = 255
"""Characters with the prefix."""

MIN_DIFFERENT_CHARACTERS: Final = 8
"""Fewer occur in less than 1 of 10 million random strings of 32 hex digits."""

MAX_SESSIONS: Final = 20
"""Sessions of the console that a token can have; a further one ends the oldest."""

_FORM: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_COMMON_WORDS: Final = ("password", "passwd", "changeme", "secret", "example", "placeholder", "letmein")


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A row of the table without the hash; ``organization_slug`` None means a token of all organizations.

    ``rate_limit`` is in requests per second and process; None means no limit. ``last_used_at`` is up to a minute old.
    """

    id: int
    name: str
    organization_id: int | None
    organization_slug: str | None
    last_four: str
    scopes: Sequence[str]
    created_at: datetime
    rate_limit: int | None
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None


def token_to_json(row: TokenRow) -> dict[str, Any]:
    """Return the JSON members of a token."""
    times = {
        "dateCreated": row.created_at,
        "expiresAt": row.expires_at,
        "dateLastUsed": row.last_used_at,
        "dateRevoked": row.revoked_at,
    }
    return {
        "id": str(row.id),
        "name": row.name,
        "scopes": list(row.scopes),
        "tokenLastCharacters": row.last_four,
        "rateLimit": row.rate_limit,
        **{name: time and time_to_json(time) for name, time in times.items()},
    }


def session_credential(session_id: str) -> str:
    """Return what is looked up for a session in place of a token: no token contains a space."""
    return f"session {session_id}"


def new_token() -> str:
    """Return `PREFIX` and 256 random bits in hex digits."""
    return PREFIX + secrets.token_hex(32)


def violated_rule(token: str) -> str | None:
    """Return the rule that ``token`` violates, as the end of "a token must …"; None if it violates none."""
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
