"""Retries writes that a concurrent transaction prevented, or whose outcome is unknown because COMMIT failed."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, ParamSpec, TypeVar
from uuid import UUID, uuid4

from service.concurrency.backoff import Backoff
from service.domain.audit import Action, AuditRecord
from service.domain.errors import ConflictError, UnavailableError, UncertainError
from service.domain.events import Event, EventFactory, EventType
from service.domain.model import Organization, Origin, Project, ProjectKey
from service.postgres.audit import insert_audit_records, is_recorded
from service.postgres.database import Connection
from service.usecases.writes import WrittenKey

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

_BACKOFF: Final = Backoff(first=0.02, longest=0.5)
"""Delays between attempts: a new connection is open within milliseconds, a new primary within seconds."""

_MAX_ATTEMPTS: Final = 61
"""About 25 seconds of attempts: the bound of commands. The deadline of a request is shorter."""


@dataclass(slots=True)
class WriteAttempt:
    """A write; all its attempts have the same id.

    Attributes:
        origin: The origin of the write.
        occurred_at: The time of the request.
        id: The ``change_id`` of its audit entry, and the id of its event if it has one.
        uncertain: Whether an earlier attempt may have been committed.
        result: The result of the last attempt that reached its COMMIT, if the write is that of a key.
    """

    origin: Origin
    occurred_at: datetime
    id: UUID = field(default_factory=uuid4)
    uncertain: bool = False
    result: WrittenKey | None = None

    async def was_committed(self, connection: Connection, organization_id: int) -> bool:
        """Return whether an earlier attempt was committed.

        The caller holds a lock that every attempt takes, so that no attempt is still running.
        """
        return self.uncertain and await is_recorded(connection, organization_id=organization_id, change_id=self.id)

    def create_event(self, events: EventFactory, event_type: EventType, key: ProjectKey, project: Project) -> Event:
        """Return the event of the write."""
        return events.create(event_type, key, project, self.origin, event_id=self.id, occurred_at=self.occurred_at)

    async def record(
        self, connection: Connection, action: Action, target: str, data: dict[str, Any], owner: Organization | Project
    ) -> None:
        """Insert the audit entry of the write in its transaction."""
        await insert_audit_records(connection, [self.audit_record(action, target, data, owner)])

    def audit_record(
        self, action: Action, target: str, data: dict[str, Any], owner: Organization | Project
    ) -> AuditRecord:
        """Return the audit entry of the write, which changes ``owner`` or a key of it."""
        organization, project = (owner.organization, owner.id) if isinstance(owner, Project) else (owner, None)
        return AuditRecord(action, target, data, self.origin, organization.id, project, self.id)


async def retry_until_known(
    write: WriteAttempt,
    attempt: Callable[Parameters, Awaitable[Result]],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Result:
    """Call ``attempt`` until ``write`` meets no concurrent transaction and its outcome is known; return its result.

    After an attempt with an unknown outcome, the next attempt must check whether it was committed; see
    `WriteAttempt.was_committed`.

    Raises:
        UnavailableError: The first attempt was not committed, or the last one met a concurrent transaction or has an
            unknown outcome.
    """
    for number in range(1, _MAX_ATTEMPTS):
        try:
            return await attempt(*args, **kwargs)
        except UncertainError:
            write.uncertain = True
        except UnavailableError as error:
            if not (write.uncertain or isinstance(error, ConflictError)):
                raise
        await asyncio.sleep(_BACKOFF.delay(number))
    return await attempt(*args, **kwargs)
