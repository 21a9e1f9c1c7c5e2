"""Lists, retries and discards parked events, which Kafka rejects."""

from service.domain.audit import AuditRecord
from service.domain.errors import NotFoundError
from service.domain.events import ParkedRow
from service.domain.model import Origin
from service.postgres.audit import insert_audit_records
from service.postgres.database import Database
from service.postgres.outbox import notify_publishers
from service.postgres.outbox_admin import (
    count_blocked,
    discard_parked,
    select_parked,
    unpark,
)


class Parked:
    """The parked rows of the outbox."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, *, limit: int) -> list[ParkedRow]:
        """Return at most ``limit`` parked rows in the order in which they were parked."""
        async with self._database.connection() as connection:
            return await select_parked(connection, limit=limit)

    async def find(self, public_key: str) -> tuple[ParkedRow, int]:
        """Return the parked row of a key and the number of later rows that it blocks.

        Raises:
            NotFoundError: No row of this key is parked.
        """
        async with self._database.connection() as connection:
            rows = await select_parked(connection, key=public_key, limit=1)
            if not rows:
                raise _not_parked(public_key)
            return rows[0], await count_blocked(connection, rows[0])

    async def retry(self, public_key: str | None) -> int:
        """Unpark the row of a key, or all rows for None, so that publishers retry them; return their number.

        Raises:
            NotFoundError: No row of this key is parked.
        """
        async with self._database.connection() as connection:
            unparked = await unpark(connection, key=public_key)
            if public_key is not None and not unparked:
                raise _not_parked(public_key)
            await notify_publishers(connection)
        return unparked

    async def discard(self, row: ParkedRow, origin: Origin) -> None:
        """Delete a parked row, whose version consumers never receive; the rows that it blocks are published.

        Raises:
            NotFoundError: The row is not parked any more.
        """
        async with self._database.transaction() as connection:
            if not await discard_parked(connection, row):
                raise _not_parked(row.public_key)
            if row.organization_id is not None:
                data = {"type": row.type, "version": row.version, "reason": row.reason}
                owner = (row.organization_id, row.project_id)
                record = AuditRecord("event.discard", row.public_key, data, origin, *owner)
                await insert_audit_records(connection, [record])
        async with self._database.connection() as connection:
            await notify_publishers(connection)


def _not_parked(public_key: str) -> NotFoundError:
    return NotFoundError(f"no event of the key {public_key} is parked")
