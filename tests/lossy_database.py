"""A database whose connection breaks around COMMIT, as a test configures."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto

from service.domain.errors import UncertainError
from service.postgres.database import Connection, Database


class Loss(Enum):
    """When the connection breaks."""

    BEFORE_COMMIT = auto()
    AFTER_COMMIT = auto()


@dataclass
class Losses:
    """The faults of a database.

    Attributes:
        next: The fault of each of the next uses of a connection; None: no fault.
        meanwhile: Called after each fault, before the service sees the error.
        suffered: The number of faults so far.
    """

    next: deque[Loss | None] = field(default_factory=deque)
    meanwhile: Callable[[], Awaitable[object]] | None = None
    suffered: int = 0

    async def lose(self) -> None:
        """Count a fault and raise the error of a COMMIT with an unknown outcome."""
        self.suffered += 1
        if self.meanwhile is not None:
            await self.meanwhile()
        raise UncertainError("the connection broke at COMMIT")


class LossyDatabase(Database):
    """The real database with the faults of ``losses``."""

    losses: Losses

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """Yield a connection; its only statement is not executed, or the result is lost."""
        loss = self.losses.next.popleft() if self.losses.next else None
        if loss is Loss.BEFORE_COMMIT:
            await self.losses.lose()
        async with super().connection() as connection:
            yield connection
        if loss is Loss.AFTER_COMMIT:
            await self.losses.lose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Yield a connection in a transaction that is rolled back, or whose COMMIT gets no response."""
        loss = self.losses.next.popleft() if self.losses.next else None
        async with super().connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except BaseException:
                await transaction.rollback()
                raise
            if loss is Loss.BEFORE_COMMIT:
                await transaction.rollback()
            else:
                await transaction.commit()
        if loss is not None:
            await self.losses.lose()
