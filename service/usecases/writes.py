"""What the use cases that write have in common: their dependencies, and the result of a write of a key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.concurrency.tenant_slots import TenantSlots
from service.domain.events import EventFactory, OutboxRow
from service.domain.model import ProjectKey, utc_now
from service.postgres.database import Database
from service.usecases.idempotency import Idempotency


@dataclass(frozen=True, slots=True)
class WriteContext:
    """The dependencies of use cases that write.

    Attributes:
        database: The pool.
        events: Creates the events.
        idempotency: Finds the results of earlier requests with the same idempotency key.
        slots: Limits the transactions that hold locks.
        on_committed: Receives the outbox rows of each committed transaction.
        clock: Returns the current time.
    """

    database: Database
    events: EventFactory
    idempotency: Idempotency
    slots: TenantSlots
    on_committed: Callable[[Sequence[OutboxRow]], None] = lambda _: None
    clock: Callable[[], datetime] = utc_now


@dataclass(slots=True)
class WrittenKey:
    """A key after a write; after its deletion, its last state.

    Attributes:
        key: The key.
        event_id: The id of its event; None if nothing changed.
        replayed: Whether an earlier request with the same idempotency key did the write.
        further_events: The ids of further events of the write, with the public keys that they are about.
    """

    key: ProjectKey
    event_id: UUID | None
    replayed: bool = False
    further_events: Sequence[tuple[UUID, str]] = ()
