"""The headers of writes: Idempotency-Key, Prefer and the response headers about the event."""

import asyncio
import hashlib
import re
from typing import Any, Final
from uuid import UUID

from service.domain.idempotency import IdempotencyKey
from service.http.context import RequestContext
from service.http.errors import HttpError
from service.http.request import joined_header
from service.json_text import dump_json

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT: Final = re.compile(r"""(?:^|[,;])\s*wait\s*=\s*("?)(?P<seconds>[0-9]{1,9})\1\s*(?:$|[,;])""")
_MAX_WAIT: Final = 30
"""Seconds; a longer wait in the header Prefer is reduced to this."""

REPLAYED: Final = {"Idempotent-Replayed": "true"}
"""The header of a response that repeats the result of an earlier request with the same idempotency key."""


def idempotency_key(context: RequestContext, body: Any) -> IdempotencyKey | None:
    """Return the ``Idempotency-Key`` of the request, with or without quotes; None if it is absent.

    Raises:
        HttpError: 400 if the header is malformed or repeated.
    """
    values = context.request.headers.getall("Idempotency-Key", [])
    if not values:
        return None
    text = values[0].strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if len(values) > 1 or not _KEY.fullmatch(text):
        raise HttpError(400, "The Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return IdempotencyKey(context.principal.token_id, text, _fingerprint(context, body))


def _fingerprint(context: RequestContext, body: Any) -> bytes:
    head = f"{context.request.method} {context.request.path}\n".encode(errors="surrogatepass")
    return hashlib.sha256(head + dump_json(body, sort_keys=True)).digest()


async def event_headers(
    context: RequestContext, event_id: UUID | None, public_key: str, *, replayed: bool = False
) -> dict[str, str]:
    """Wait for Kafka if the request has ``Prefer: wait``; return the response headers about the event.

    Args:
        context: The request.
        event_id: The id of the event; None if the write changed nothing.
        public_key: The key that was written.
        replayed: Whether an earlier request with the same idempotency key did the write.
    """
    headers = dict(REPLAYED) if replayed else {}
    if event_id is None:
        return {**headers, "Event-Status": "unchanged"}
    headers["Event-Id"] = str(event_id)
    wait = _WAIT.search(joined_header(context.request, "Prefer").lower())
    published = False
    if wait is not None:
        seconds = min(int(wait["seconds"]), _MAX_WAIT)
        headers["Preference-Applied"] = f"wait={seconds}"
        published = await _published(context, event_id, public_key, seconds)
    if replayed and not published:  # the event may be from long ago
        published = await context.use_cases.acknowledgements.is_published(event_id, public_key)
    return {**headers, "Event-Status": "published" if published else "pending"}


async def _published(context: RequestContext, event_id: UUID, public_key: str, seconds: int) -> bool:
    """Return whether Kafka acknowledges the event within ``seconds``; do not wait if too many writes wait."""
    task = asyncio.current_task()
    assert task is not None, "a handler runs in a task"
    context.server.deadlines.end(task)  # the write is committed, and this wait has its own timeout
    with context.server.admission.waiting_for_kafka() as may_wait:
        return await context.use_cases.acknowledgements.wait(
            event_id, public_key, seconds=seconds if may_wait else 0
        )
