"""Requests that carry an idempotency key happen once, however often they are sent."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.domain.errors import KeyInUseError, KeyReusedError
from service.domain.idempotency import IdempotencyKey, Made
from service.postgres.database import Database
from service.postgres.idempotency import select_made


class Idempotency:
    """Knows which keys are in use in this process, and asks the database for those that were used.

    Two processes that run the same key at once are told apart by the table's primary key: the later one's
    transaction fails as a whole.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: set[tuple[int, str]] = set()

    @asynccontextmanager
    async def turn(self, key: IdempotencyKey | None) -> AsyncIterator[Made | None]:
        """The right to do what ``key`` stands for, for the time of the block; gives what an earlier request made.

        Raises:
            KeyInUseError: an earlier request with this key is still under way.
            KeyReusedError: an earlier request with this key was another one.
            UnavailableError: the database cannot be reached.
        """
        if key is None:
            yield None
            return
        at = (key.token_id, key.text)
        if at in self._running:
            raise KeyInUseError
        self._running.add(at)
        try:
            yield await self.made(key)
        finally:
            self._running.discard(at)

    async def made(self, key: IdempotencyKey | None) -> Made | None:
        """What an earlier request with ``key`` made.

        To be asked again where what was to be made is there already: another replica, or the first request whose
        caller has gone, may have been quicker since.

        Raises:
            KeyReusedError: an earlier request with this key was another one.
            UnavailableError: the database cannot be reached.
        """
        if key is None:
            return None
        async with self._database.connection() as connection:
            made = await select_made(connection, key)
        if made is not None and made.fingerprint != key.fingerprint:
            raise KeyReusedError
        return made
