"""All that there is, of every tenant, a page at a time: what the topic is compared with."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from service.domain.model import Project, ProjectKey
from service.postgres.database import Connection
from service.postgres.deleted_keys import DeletedVersion
from service.postgres.keys import KEY_COLUMNS, key_from_row
from service.postgres.projects import PROJECT_COLUMNS, project_from_row

PAGE: Final = 5_000
"""Rows of a page; a constant of the statements, so that they are planned for it."""

_AS_OF_ONE_MOMENT: Final = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"


async def see_one_moment(connection: Connection) -> None:
    """Let all statements of a transaction that has just begun see what was committed at the first of them."""
    await connection.execute(_AS_OF_ONE_MOMENT)


_SELECT_KEYS: Final = f"""
    SELECT {KEY_COLUMNS}, {PROJECT_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    JOIN organization ON organization.id = project.organization_id
    WHERE key.public_key > $1
    ORDER BY key.public_key
    LIMIT {PAGE}
"""  # noqa: S608 -- the columns and the number are constants


async def all_keys(connection: Connection) -> AsyncIterator[list[tuple[ProjectKey, Project]]]:
    """Every key, a page at a time, in the order of their public keys."""
    after = ""
    while rows := await connection.fetch(_SELECT_KEYS, after):
        yield [(key_from_row(row), project_from_row(row)) for row in rows]
        after = rows[-1]["public_key"]


_SELECT_GONE: Final = f"""
    SELECT public_key, version FROM deleted_key WHERE public_key > $1 ORDER BY public_key LIMIT {PAGE}
"""  # noqa: S608 -- the number is a constant


async def all_gone(connection: Connection) -> AsyncIterator[list[DeletedVersion]]:
    """Every deleted key, a page at a time, in the order of their public keys."""
    after = ""
    while rows := await connection.fetch(_SELECT_GONE, after):
        yield [DeletedVersion(**dict(row.items())) for row in rows]
        after = rows[-1]["public_key"]


_SELECT_WAITING: Final = f"""
    SELECT shard, seq, aggregateid AS public_key, parked_at IS NOT NULL AS parked
    FROM outbox
    WHERE (shard, seq) > ($1::smallint, $2::bigint)
    ORDER BY shard, seq
    LIMIT {PAGE}
"""  # noqa: S608 -- the number is a constant


async def all_waiting(connection: Connection) -> AsyncIterator[list[tuple[str, bool]]]:
    """Every row of the outbox, a page at a time: its public key, and whether it is parked."""
    shard, seq = -1, 0
    while rows := await connection.fetch(_SELECT_WAITING, shard, seq):
        yield [(row["public_key"], row["parked"]) for row in rows]
        shard, seq = rows[-1]["shard"], rows[-1]["seq"]


@dataclass(frozen=True, slots=True)
class Standing:
    """What there is of a key: ``version`` 0 if nothing, ``lives`` False if it is deleted.

    ``waits``: the outbox has events of it.
    """

    version: int
    lives: bool
    waits: bool


_SELECT_STANDING: Final = """
    SELECT wanted.public_key, coalesce(key.version, gone.version, 0) AS version, key.id IS NOT NULL AS lives,
           wanted.public_key IN (SELECT aggregateid FROM outbox WHERE aggregateid = ANY($1::text[])) AS waits
    FROM unnest($1::text[]) AS wanted (public_key)
    LEFT JOIN project_key AS key ON key.public_key = wanted.public_key
    LEFT JOIN deleted_key AS gone ON gone.public_key = wanted.public_key
"""


async def select_standing(connection: Connection, public_keys: Sequence[str]) -> dict[str, Standing]:
    """What there is of these keys at this moment."""
    rows = await connection.fetch(_SELECT_STANDING, public_keys)
    return {row["public_key"]: Standing(row["version"], row["lives"], row["waits"]) for row in rows}
