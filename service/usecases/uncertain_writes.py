"""Writes whose connection broke are tried again until it is known how they ended."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID, uuid4

from service.domain.errors import UnavailableError, UncertainError
from service.domain.model import Origin
from service.postgres.audit import is_recorded
from service.postgres.database import Connection

Result = TypeVar("Result")


@dataclass(slots=True)
class WriteAttempt:
    """One change, under one id in all its tries; ``moment`` is when it was asked for.

    ``uncertain``: an earlier try may have been committed.
    """

    origin: Origin
    moment: datetime
    id: UUID = field(default_factory=uuid4)
    uncertain: bool = False

    async def was_committed(self, connection: Connection, organization_id: int) -> bool:
        """Whether an earlier try, whose end nobody saw, succeeded.

        To be asked under a lock for which a try that still runs would be waited for.
        """
        return self.uncertain and await is_recorded(
            connection, organization_id=organization_id, change_id=self.id
        )


_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 0.5
"""Seconds between two tries; a new connection is there in milliseconds, a new primary in seconds."""

_TRIES: Final = 60
"""Some 25 seconds: a request's own time ends sooner; this is the bound where there is none."""


async def retry_until_known(
    attempt: Callable[[], Awaitable[Result]], write: WriteAttempt | None = None
) -> Result:
    """The result of a write that happens exactly once, whatever becomes of its connections.

    Args:
        attempt: does the write if it has not been done; after an uncertain try it is called again, and has to find
            out, under the lock that the write takes, whether that one was committed.
        write: is told of uncertain tries.

    Raises:
        UnavailableError: the database could not be asked at all, or not for as long as this waits.
    """
    pause, uncertain = _FIRST_PAUSE, False
    for _ in range(_TRIES):
        try:
            return await attempt()
        except UncertainError:
            uncertain = True
            if write is not None:
                write.uncertain = True
        except UnavailableError:
            if not uncertain:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 -- spreads retries, hides nothing
        pause = min(pause * 2, _LONGEST_PAUSE)
    return await attempt()
