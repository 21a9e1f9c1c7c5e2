"""Idempotency keys: a request that is sent again returns the stored result of the first one."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from service.domain.errors import KeyInUseError, KeyReusedError, TakenError
from service.domain.idempotency import IdempotencyKey, StoredResult
from service.postgres.database import Database
from service.postgres.idempotency import select_result


class Idempotency:
    """Finds stored results and rejects concurrent requests with the same key in this process.

    Concurrent requests in two processes are detected by the primary key of the table: the transaction of the later
    one fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: set[tuple[int, str]] = set()

    async def start(self, key: IdempotencyKey) -> StoredResult | None:
        """Mark ``key`` as running; return the result of an earlier request with it.

        Raises:
            KeyInUseError: A request with this key is running.
            KeyReusedError: The earlier request had other contents.
            UnavailableError: The database cannot be reached.
        """
        if (key.token_id, key.text) in self._running:
            raise KeyInUseError
        self._running.add((key.token_id, key.text))
        try:
            return await self.find(key)
        except BaseException:
            self.end(key)
            raise

    def end(self, key: IdempotencyKey) -> None:
        """Mark ``key`` as not running."""
        self._running.discard((key.token_id, key.text))

    async def find(self, key: IdempotencyKey) -> StoredResult | None:
        """Return the result of an earlier request with ``key``; raises as `start` except `KeyInUseError`."""
        async with self._database.connection() as connection:
            stored = await select_result(connection, key)
        if stored is not None and stored.fingerprint != key.fingerprint:
            raise KeyReusedError
        return stored


@dataclass(slots=True)
class IdempotentRequest:
    """The context of a request, with an idempotency key or without.

    If ``stored`` is None, the block creates something and returns. If the block raises `TakenError` because another
    replica has executed the same request meanwhile, the error is suppressed and ``stored`` is set.
    """

    idempotency: Idempotency
    key: IdempotencyKey | None
    stored: StoredResult | None = None

    @property
    def result(self) -> StoredResult:
        """The stored result; to be used after a block that did not create anything."""
        assert self.stored is not None, "the block creates something if there is no stored result"
        return self.stored

    async def __aenter__(self) -> Self:
        """Find the stored result; raises as `Idempotency.start`."""
        if self.key is not None:
            self.stored = await self.idempotency.start(self.key)
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None
    ) -> bool:
        """Find the result of a concurrent replica after `TakenError`."""
        if self.key is None:
            return False
        try:
            if isinstance(error, TakenError):
                self.stored = await self.idempotency.find(self.key)
                return self.stored is not None
            return False
        finally:
            self.idempotency.end(self.key)
