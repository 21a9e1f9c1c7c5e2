"""Loads a database with many keys by COPY, and selects the requests that measure it."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench.databases import connected
from bench.requests import CREATE_BODY, ORGANIZATION, keys_path
from bench.rows import KEY_COLUMNS, key_row
from service.domain.model import new_key_half
from testkit.http_client import request_bytes

_LARGE: Final = "large"
_COPIED: Final = 50_000
"""Keys of one COPY."""

_SAMPLED: Final = 1000
"""Keys, and positions in the large project, that are read in turn."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Numbers of rows: all keys, all projects, and the keys of the large project."""

    keys: int
    projects: int
    large_project: int

    def project_of(self, number: int) -> int:
        """Return the number of the project of a key: 0 is the large one, whose keys are spread over the table."""
        large_before, large_after = (count * self.large_project // self.keys for count in (number, number + 1))
        in_large = large_after > large_before
        return 0 if in_large or self.projects == 1 else 1 + (number - large_before) % (self.projects - 1)


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests to a loaded database, by what they measure, and the id of the large project."""

    large_project: int
    create: str
    keys: Sequence[str]
    first_page: str
    deep_pages: Sequence[str]


# Adding keys to an index that exceeds the memory takes hours: the indexes are built after the load.
_INDEXES: Final = """
    SELECT format('ALTER TABLE project_key DROP CONSTRAINT %I', conname) AS drop,
           format('ALTER TABLE project_key ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) AS add
    FROM pg_constraint
    WHERE conrelid = 'project_key'::regclass AND contype = 'u'
    UNION ALL
    SELECT format('DROP INDEX %s', indexrelid::regclass), pg_get_indexdef(indexrelid)
    FROM pg_index
    WHERE indrelid = 'project_key'::regclass AND NOT indisunique
"""

_INSERT_PROJECTS: Final = """
    WITH tenant AS (INSERT INTO organization (slug, name) VALUES ($1, $1) RETURNING id)
    INSERT INTO project (organization_id, slug, name)
    SELECT tenant.id, CASE number WHEN 0 THEN $2 ELSE 'project-' || number END, 'bench'
    FROM tenant, generate_series(0, $3::integer - 1) AS number
    RETURNING id
"""


async def load(url: str, sizes: Sizes, *, progress: Callable[[int], None]) -> None:
    """Fill an empty database with the service's schema.

    Args:
        url: The database.
        sizes: The numbers of rows.
        progress: Receives the number of keys after each COPY.
    """
    async with connected(url) as connection:
        await connection.execute("SET session_replication_role = replica")  # no lookups for foreign keys
        await connection.execute("SET maintenance_work_mem = '1GB'")
        arguments = (ORGANIZATION, _LARGE, sizes.projects)
        # The ids grow with the numbers.
        projects = sorted(row["id"] for row in await connection.fetch(_INSERT_PROJECTS, *arguments))
        indexes = await connection.fetch(_INDEXES)
        for index in indexes:
            await connection.execute(index["drop"])
        for first in range(0, sizes.keys, _COPIED):
            numbers = range(first, min(first + _COPIED, sizes.keys))
            rows = (key_row(new_key_half(), projects[sizes.project_of(number)]) for number in numbers)
            await connection.copy_records_to_table("project_key", columns=KEY_COLUMNS, records=rows)
            progress(len(numbers))
        for index in indexes:
            await connection.execute(index["add"])
        # As a table that autovacuum has processed, so that it does not run during the measurements.
        await connection.execute("VACUUM ANALYZE")
        await connection.execute("CHECKPOINT")


_SELECT_KEYS: Final = """
    SELECT project.slug, key.public_key
    FROM unnest($1::bigint[]) AS wanted (id)
    JOIN project_key AS key USING (id)
    JOIN project ON project.id = key.project_id
"""

_SELECT_POSITIONS: Final = """
    SELECT position.id
    FROM unnest($2::bigint[]) AS wanted (id)
    CROSS JOIN LATERAL (
        SELECT id FROM project_key WHERE project_id = $1 AND id <= wanted.id ORDER BY id DESC LIMIT 1
    ) AS position
"""


async def sample(url: str, sizes: Sizes, token: str) -> Sample:
    """Return requests for random keys and for random positions in the large project."""
    rng = random.Random(1)  # the same positions in every run
    ids = [rng.randint(1, sizes.keys) for _ in range(_SAMPLED)]
    async with connected(url) as connection:
        large = await connection.fetchval("SELECT id FROM project WHERE slug = $1", _LARGE)
        keys = await connection.fetch(_SELECT_KEYS, ids)
        positions = await connection.fetch(_SELECT_POSITIONS, large, ids)
    path = keys_path(_LARGE)
    return Sample(
        large_project=large,
        create=request_bytes("POST", path, token=token, body=CREATE_BODY).decode(),
        keys=list(_gets(token, (f"{keys_path(key['slug'])}{key['public_key']}/" for key in keys))),
        first_page=request_bytes("GET", path, token=token).decode(),
        deep_pages=list(_gets(token, (f"{path}?cursor={position['id']}:0:0" for position in positions))),
    )


def _gets(token: str, paths: Iterator[str]) -> Iterator[str]:
    for path in paths:
        yield request_bytes("GET", path, token=token).decode()
