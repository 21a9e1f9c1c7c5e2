"""A database whose answers get lost when a test says so."""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum, auto

from service.domain.errors import UncertainError
from service.postgres.database import Connection, Database


class Loss(Enum):
    """Where the connection breaks."""

    BEFORE_COMMIT = auto()
    AFTER_COMMIT = auto()


@dataclass
class Losses:
    """What becomes of the next uses of a connection; ``meanwhile`` is awaited after each loss."""

    next: deque[Loss | None] = field(default_factory=deque)
    meanwhile: Callable[[], Awaitable[object]] | None = None
    suffered: int = 0

    async def lose(self) -> None:
        """Break."""
        self.suffered += 1
        if self.meanwhile is not None:
            await self.meanwhile()
        raise UncertainError("the answer is lost")


class LossyDatabase(Database):
    """A real one, behind a line that breaks."""

    losses: Losses

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection whose only statement is lost, or whose answer is."""
        loss = self.losses.next.popleft() if self.losses.next else None
        if loss is Loss.BEFORE_COMMIT:
            await self.losses.lose()
        async with super().connection() as connection:
            yield connection
        if loss is Loss.AFTER_COMMIT:
            await self.losses.lose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction that is rolled back by the break, or whose COMMIT is answered to nobody."""
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
