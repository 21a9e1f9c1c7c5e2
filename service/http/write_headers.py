"""What writes have in common: a key against doing them twice, and a wish to wait for Kafka."""

import asyncio
import hashlib
import re
from typing import Any, Final
from uuid import UUID

from service.domain.idempotency import IdempotencyKey
from service.http.errors import HttpError
from service.http.state import RequestContext
from service.json_text import dump_json

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*([0-9]{1,9})\s*(?:$|[,;])")
_LONGEST_WAIT: Final = 30
"""Seconds."""


def idempotency_key(context: RequestContext, body: Any) -> IdempotencyKey | None:
    """The request's ``Idempotency-Key``, bare or in quotes; None if it has none.

    Raises:
        Refusal: 400; it is none, or there are two.
    """
    given = context.request.headers.getall("Idempotency-Key", [])
    if not given:
        return None
    text = given[0].strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1]
    if len(given) > 1 or not _KEY.fullmatch(text):
        raise HttpError(400, "The Idempotency-Key must be 1 to 255 visible ASCII characters.")
    return IdempotencyKey(context.caller.token_id, text, _fingerprint(context, body))


def _fingerprint(context: RequestContext, body: Any) -> bytes:
    head = f"{context.request.method} {context.request.path}\n".encode(errors="surrogatepass")
    return hashlib.sha256(head + dump_json(body, sort_keys=True)).digest()


async def event_headers(
    context: RequestContext, event_id: UUID | None, public_key: str, *, replayed: bool = False
) -> dict[str, str]:
    """The headers that tell of a write's event, after as much waiting for Kafka as the caller prefers."""
    headers = {"Idempotent-Replayed": "true"} if replayed else {}
    if event_id is None:
        return {**headers, "Event-Status": "unchanged"}
    headers["Event-Id"] = str(event_id)
    wait = _WAIT.search(context.request.headers.get("Prefer", "").lower())
    published = False
    if wait is not None:
        seconds = min(int(wait[1]), _LONGEST_WAIT)
        headers["Preference-Applied"] = f"wait={seconds}"
        published = await _published(context, event_id, public_key, seconds)
    return {**headers, "Event-Status": "published" if published else "pending"}


async def _published(context: RequestContext, event_id: UUID, public_key: str, seconds: int) -> bool:
    """Whether Kafka has the event within ``seconds``; as many may wait as may be answered at a time.

    The write is done, and the wait has a bound of its own: it must neither end as a request that took too long nor,
    while Kafka is away, take the room of those that do not wait.
    """
    task, admission = asyncio.current_task(), context.api.admission
    assert task is not None, "a handler runs in a task"
    context.api.deadlines.end(task)
    admission.waiting += 1
    try:
        within = seconds if admission.waiting <= admission.most else 0
        return await context.api.acknowledgements.wait(event_id, public_key, seconds=within)
    finally:
        admission.waiting -= 1
