"""Imports the records of a file that the database does not have."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from io import BufferedReader
from typing import Final, TypeAlias, TypeVar

from service.domain.errors import BusyError, CommandError
from service.domain.events import EventType
from service.domain.model import LoaderOptions, Origin, ProjectKey, RateLimit, new_key_half, utc_now
from service.postgres.database import Connection
from service.postgres.deleted_keys import lock_deleted_by_public_keys, lock_public_keys
from service.postgres.key_writes import PreparedWrite
from service.postgres.outbox import notify_publishers
from service.postgres.transfers import (
    insert_imported_keys,
    insert_organizations,
    insert_projects,
    lock_organizations,
    only_import,
    raise_sequence,
    select_projects,
)
from service.usecases.bulk_changes import BATCH_SIZE, ProgressOf, ShowProgress, wait_for_outbox
from service.usecases.transfer.compare import Comparison
from service.usecases.transfer.csv_format import read_lines, stage_rows
from service.usecases.transfer.json_items import read_items
from service.usecases.transfer.sentry_format import LABEL_LENGTH, stage_items
from service.usecases.transfer.stage import Document, Kind, Record, Stage
from service.usecases.writes import WriteContext

_Item = TypeVar("_Item")
_InsertBatch: TypeAlias = Callable[[Connection, Sequence[Document], Origin], Awaitable[int]]

_START: Final = 64
"""Bytes in which the first character of a file is searched."""


def stage_file(file: BufferedReader, stage: Stage, progress: ShowProgress) -> None:
    """Add the records of a file: JSON if it starts with a list, otherwise CSV.

    Raises:
        UnreadableFileError: The file is neither, or it is truncated.
    """
    start = file.peek(_START)[:_START].removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"["):
        stage_items(_shown(read_items(file), progress), stage)
    else:
        stage_rows(_shown(read_lines(file), progress), stage)


def _shown(items: Iterator[_Item], progress: ShowProgress) -> Iterator[_Item]:
    """Return ``items``, and show how many are read; their total is not known."""
    for number, item in enumerate(items):
        if number % BATCH_SIZE == 0:
            progress(number, 0)
        yield item


class Import:
    """Inserts what a file contains and the database does not; it changes and deletes nothing.

    ``organization_ids_bind`` means that DSNs contain the ids of organizations.
    """

    def __init__(self, context: WriteContext, *, organization_ids_bind: bool) -> None:
        self._database = context.database
        self._events = context.events
        self._organization_ids_bind = organization_ids_bind

    async def compare(self, stage: Stage, progress_of: ProgressOf) -> None:
        """Mark the new records of ``stage``, and add conflicts and differences to it.

        Raises:
            UnavailableError: The database is unavailable.
        """
        async with self._database.connection() as connection:
            await self._compare(connection, stage, progress_of)

    async def apply(self, stage: Stage, origin: Origin, progress_of: ProgressOf) -> None:
        """Do the same, then insert the new records unless there are conflicts.

        Each batch is a transaction: an import that was interrupted can be repeated.

        Raises:
            BusyError: Another import is running, or the database changed in the meantime.
            UnavailableError: The database is unavailable; finished batches stay committed.
            CommandError: The database is PgBouncer.
        """
        if not self._database.has_session:
            raise CommandError(
                "import holds a lock of its session, which PgBouncer does not keep: connect to Postgres directly, "
                "with DATABASE_PGBOUNCER=false"
            )
        async with self._database.connection() as connection, only_import(connection):
            await self._compare(connection, stage, progress_of)
            if not stage.count_findings(conflicts=True):
                await self._insert(connection, stage, origin, progress_of)

    async def _compare(self, connection: Connection, stage: Stage, progress_of: ProgressOf) -> None:
        with progress_of("Comparison") as progress:
            comparison = Comparison(connection, stage, organization_ids_bind=self._organization_ids_bind)
            await comparison.run(progress)

    async def _insert(self, connection: Connection, stage: Stage, origin: Origin, progress_of: ProgressOf) -> None:
        insert: dict[Kind, _InsertBatch] = {
            Kind.ORGANIZATION: insert_organizations,
            Kind.PROJECT: insert_projects,
            Kind.KEY: self._insert_keys,
        }
        for kind in insert:
            if highest := stage.highest_id(kind):
                await raise_sequence(connection, kind, highest)
        done, total = 0, sum(stage.count(kind, only_new=True) for kind in insert)
        with progress_of("Import") as progress:
            for kind, insert_batch in insert.items():
                for records in stage.batches(kind, BATCH_SIZE, only_new=True):
                    await self._insert_batch(connection, records, insert_batch, origin)
                    done += len(records)
                    progress(done, total)

    async def _insert_batch(
        self, connection: Connection, records: Sequence[Record], insert: _InsertBatch, origin: Origin
    ) -> None:
        await wait_for_outbox(connection)
        async with connection.transaction():
            if await insert(connection, [record.document for record in records], origin) != len(records):
                raise BusyError("records of the file were created or deleted meanwhile: run the import again")
        await notify_publishers(connection)

    async def _insert_keys(self, connection: Connection, documents: Sequence[Document], origin: Origin) -> int:
        """Insert the keys with their events; return a smaller number than theirs if one could not be inserted."""
        ids = {document["project_id"] for document in documents}
        await lock_organizations(connection, [*ids])
        projects = {known.project.id: known.project for known in await select_projects(connection, [*ids])}
        if projects.keys() != ids:
            return 0
        now, keys = utc_now(), []
        for document in documents:
            key, project = _key_of(document, now), projects[document["project_id"]]
            event = self._events.create(EventType.CREATED, key, project, origin, occurred_at=now)
            keys.append(PreparedWrite(project, replace(key, id=document.get("id")), event, origin))
        public_keys = [prepared.key.public_key for prepared in keys]
        await lock_public_keys(connection, public_keys)
        inserted = await insert_imported_keys(connection, keys)
        # After the insert, which no other transaction can repeat: a key could have been deleted just before.
        return inserted - len(await lock_deleted_by_public_keys(connection, public_keys))


def _key_of(document: Document, now: datetime) -> ProjectKey:
    """Return the key of a document; values that it does not have are those of a new key."""
    limit, created_at, expires_at = map(document.get, ("rate_limit", "created_at", "expires_at"))
    return ProjectKey(
        project_id=document["project_id"],
        label=document.get("label") or document["public_key"][:LABEL_LENGTH],
        public_key=document["public_key"],
        secret_key=document.get("secret_key") or new_key_half(),
        is_active=document.get("is_active", True),
        rate_limit=RateLimit(*limit) if limit else None,
        browser_sdk_version=document.get("browser_sdk_version"),
        loader_options=LoaderOptions(*document.get("loader_options", ())),
        version=1,
        created_at=datetime.fromisoformat(created_at) if created_at else now,
        expires_at=datetime.fromisoformat(expires_at) if expires_at else None,
    )
