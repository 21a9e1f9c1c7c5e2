"""The responses to writes of keys, and the wait for Kafka that the header Prefer requests."""

import asyncio
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final
from uuid import UUID

from service.http.dispatcher import RequestContext
from service.http.request import joined_header
from service.http.server.response import Response, common_header_lines, header_lines
from service.usecases.writes import WrittenKey

_WAIT: Final = re.compile(r"""(?:^|[,;])\s*wait\s*=\s*("?)(?P<seconds>[0-9]{1,9})\1\s*(?:$|[,;])""")
_MAX_WAIT: Final = 30
"""Seconds; a longer wait in the header Prefer is reduced to this."""

REPLAYED: Final = {"Idempotent-Replayed": "true"}
"""The header of a response that repeats the result of an earlier request with the same idempotency key."""


async def written_response(context: RequestContext, written: WrittenKey, *, status: int = 200) -> Response:
    """Return the response to the write of a key: the key, or nothing for 204, and headers about its event.

    With ``Prefer: wait``, first wait until Kafka has acknowledged all events of the write.
    """
    headers = dict(REPLAYED) if written.replayed else {}
    if written.event_id is None:
        headers["Event-Status"] = "unchanged"
    else:
        headers["Event-Id"] = str(written.event_id)
        events = [(written.event_id, written.key.public_key), *written.further_events]
        published = "Prefer" in context.request.headers and await _wait_for_kafka(context, events, headers)
        if written.replayed and not published:  # the event may be from long ago
            is_published = context.use_cases.acknowledgements.is_published
            published = all([await is_published(*event) for event in events])
        headers["Event-Status"] = "published" if published else "pending"
    content_type, body = "", b""
    if status != HTTPStatus.NO_CONTENT:
        content_type = "application/json"
        body = context.key_serializer.serialize_written(written.key, context.project)
    return Response(common_header_lines(content_type) + header_lines(headers), body, status=status)


async def _wait_for_kafka(
    context: RequestContext, events: Sequence[tuple[UUID, str]], headers: dict[str, str]
) -> bool:
    """Wait for as long as the header Prefer says, and add the header that confirms it.

    Returns:
        Whether Kafka has acknowledged the events; if too many writes wait, without a wait.
    """
    preferred = _WAIT.search(joined_header(context.request, "Prefer").lower())
    if preferred is None:
        return False
    seconds = min(int(preferred["seconds"]), _MAX_WAIT)
    headers["Preference-Applied"] = f"wait={seconds}"
    task = asyncio.current_task()
    assert task is not None, "a handler runs in a task"
    context.server.deadlines.end(task)  # the write is committed, and this wait has its own timeout
    with context.server.admission.waiting_for_kafka() as may_wait:
        wait = context.use_cases.acknowledgements.wait
        waits = [wait(*event, seconds=seconds if may_wait else 0) for event in events]
        return all(await asyncio.gather(*waits))
