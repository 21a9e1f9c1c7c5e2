"""The response headers of writes, and the wait for Kafka that the header Prefer requests."""

import asyncio
import re
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from service.http.dispatcher import RequestContext
from service.http.request import joined_header

_WAIT: Final = re.compile(r"""(?:^|[,;])\s*wait\s*=\s*("?)(?P<seconds>[0-9]{1,9})\1\s*(?:$|[,;])""")
_MAX_WAIT: Final = 30
"""Seconds; a longer wait in the header Prefer is reduced to this."""

REPLAYED: Final = {"Idempotent-Replayed": "true"}
"""The header of a response that repeats the result of an earlier request with the same idempotency key."""


async def event_headers(
    context: RequestContext,
    event_id: UUID | None,
    public_key: str,
    *,
    replayed: bool = False,
    second: Sequence[tuple[UUID, str]] = (),
) -> dict[str, str]:
    """Wait for Kafka if the request has ``Prefer: wait``; return the response headers about the event.

    Args:
        context: The request.
        event_id: The id of the event; None if the write changed nothing.
        public_key: The key that was written.
        second: A further event of the write with its key, if there is one; both are waited for.
        replayed: Whether an earlier request with the same idempotency key did the write.
    """
    headers = dict(REPLAYED) if replayed else {}
    if event_id is None:
        return {**headers, "Event-Status": "unchanged"}
    headers["Event-Id"] = str(event_id)
    preferences = joined_header(context.request, "Prefer") if "Prefer" in context.request.headers else ""
    wait = _WAIT.search(preferences.lower())
    published = False
    if wait is not None:
        seconds = min(int(wait["seconds"]), _MAX_WAIT)
        headers["Preference-Applied"] = f"wait={seconds}"
        published = await _published(context, [(event_id, public_key), *second], seconds)
    if replayed and not published:  # the event may be from long ago
        is_published = context.use_cases.acknowledgements.is_published
        published = all([await is_published(*event) for event in ((event_id, public_key), *second)])
    return {**headers, "Event-Status": "published" if published else "pending"}


async def _published(context: RequestContext, events: Sequence[tuple[UUID, str]], seconds: int) -> bool:
    """Return whether Kafka acknowledges the events within ``seconds``; do not wait if too many writes wait."""
    task = asyncio.current_task()
    assert task is not None, "a handler runs in a task"
    context.server.deadlines.end(task)  # the write is committed, and this wait has its own timeout
    with context.server.admission.waiting_for_kafka() as may_wait:
        wait = context.use_cases.acknowledgements.wait
        waits = [wait(*event, seconds=seconds if may_wait else 0) for event in events]
        return all(await asyncio.gather(*waits))
