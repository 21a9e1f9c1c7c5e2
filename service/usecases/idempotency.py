"""Idempotency keys: a repeated request returns the stored result of the first request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from service.domain.errors import (
    GoneError,
    IdempotencyKeyInUseError,
    IdempotencyKeyReusedError,
    KeyStateError,
    NotFoundError,
    TakenError,
)
from service.domain.idempotency import IdempotencyKey, StoredResult
from service.domain.model import Project, ProjectKey
from service.postgres.database import Database
from service.postgres.idempotency import select_result
from service.postgres.keys import select_by_row_id
from service.postgres.projects import select_project


@dataclass(slots=True)
class IdempotentRequest:
    """A request with an idempotency key or without; ``stored`` is the result of an earlier request with the key."""

    stored: StoredResult | None = None


class Idempotency:
    """Finds stored results, and rejects concurrent requests with the same idempotency key.

    This class detects concurrent requests in its process. Between processes, the primary key of the table does: the
    transaction that commits later fails.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._running: set[tuple[int, str]] = set()

    @asynccontextmanager
    async def request(self, key: IdempotencyKey | None) -> AsyncIterator[IdempotentRequest]:
        """Find the stored result of ``key``; if there is none, the block creates something and returns.

        If the block raises `TakenError` or `KeyStateError` because another replica has executed the same request
        meanwhile, the error is suppressed, and ``stored`` is set after the block.

        Raises:
            IdempotencyKeyInUseError: A request with this key is running.
            IdempotencyKeyReusedError: The earlier request had other contents.
            UnavailableError: The database cannot be reached.
        """
        request = IdempotentRequest()
        if key is None:
            yield request
            return
        identity = (key.token_id, key.text)
        if identity in self._running:
            raise IdempotencyKeyInUseError
        self._running.add(identity)
        try:
            request.stored = await self._find(key)
            yield request
        except (TakenError, KeyStateError):
            request.stored = await self._find(key)
            if request.stored is None:
                raise
        finally:
            self._running.discard(identity)

    async def _find(self, key: IdempotencyKey) -> StoredResult | None:
        async with self._database.connection() as connection:
            stored = await select_result(connection, key)
        if stored is not None and stored.fingerprint != key.fingerprint:
            raise IdempotencyKeyReusedError
        return stored


async def read_created(database: Database, project: Project, row_id: int) -> ProjectKey:
    """Return the key that an earlier request with the same idempotency key created, by the id of its row.

    Raises:
        GoneError: It is deleted.
        NotFoundError: The project is deleted.
        UnavailableError: The database cannot be reached.
    """
    async with database.connection() as connection:
        key = await select_by_row_id(
            connection, organization_id=project.organization.id, project_id=project.id, row_id=row_id
        )
        if key is not None:
            return key
        parts = {"organization": str(project.organization.id), "project": str(project.id)}
        if await select_project(connection, **parts) is None:
            raise NotFoundError(f"project {project.id}")
        raise GoneError
