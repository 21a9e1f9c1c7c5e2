"""Requests that carry an idempotency key happen once, however often they are sent."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from service.domain.errors import KeyInUseError, KeyReusedError, TakenError
from service.domain.idempotency import IdempotencyKey, StoredResult
from service.postgres.database import Database
from service.postgres.idempotency import select_made

Result = TypeVar("Result")


class Idempotency:
    """Knows which keys are in use in this process, and asks the database for those that were used.

    Two processes that run the same key at once are told apart by the table's primary key: the later one's
    transaction fails as a whole.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: set[tuple[int, str]] = set()

    async def once(
        self, key: IdempotencyKey | None, make: Callable[[], Awaitable[Result]]
    ) -> Result | StoredResult:
        """What ``make`` makes; or what an earlier request with ``key`` made.

        Raises:
            KeyInUseError: an earlier request with this key is still under way.
            KeyReusedError: an earlier request with this key was another one.
            UnavailableError: the database cannot be reached; besides, all that ``make`` raises.
        """
        if key is None:
            return await make()
        at = (key.token_id, key.text)
        if at in self._running:
            raise KeyInUseError
        self._running.add(at)
        try:
            return await self._made(key) or await make()
        except TakenError:
            # Another replica, or the first request whose caller has gone, may have been quicker meanwhile.
            made = await self._made(key)
            if made is None:
                raise
            return made
        finally:
            self._running.discard(at)

    async def _made(self, key: IdempotencyKey) -> StoredResult | None:
        async with self._database.connection() as connection:
            made = await select_made(connection, key)
        if made is not None and made.fingerprint != key.fingerprint:
            raise KeyReusedError
        return made
