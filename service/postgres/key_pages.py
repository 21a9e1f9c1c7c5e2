"""Lists of keys: pages of the table project_key, newest first, each at the price of its own rows."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from service.domain.model import Project, ProjectKey
from service.domain.pagination import KeyRows, Page
from service.postgres.database import Connection
from service.postgres.keys import KEY_COLUMNS, known_key
from service.postgres.projects import PROJECT_COLUMNS, project_from_row


class KeyPage(NamedTuple):
    """A page of a project's keys; ``active`` None is all of them."""

    organization_id: int
    project_id: int
    page: Page
    active: bool | None


_KEPT: Final = 128
"""Lists that are kept as they were made of their rows; each is of some 7 000 bytes, at most 60 000."""

_WANTED: Final = """
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::integer[], $6::boolean[])
         WITH ORDINALITY AS wanted (organization_id, project_id, start, skip, most, active, position)
    JOIN project ON project.id = wanted.project_id AND project.organization_id = wanted.organization_id
                    AND project.deleted_at IS NULL
"""

# Two halves, of which one is read: the second goes by the index of keys that are switched off, which are few.
# Each is written as a stretch of its index, and in that one's order: with `project_id =` Postgres would rather walk
# down the numbers of all keys, which is as good only if those of other projects do not lie in between.
# LEFT JOIN: a page without keys is a row of NULLs, so that a page without a row is that of a deleted project.
_OLDER: Final = f"""
    SELECT wanted.position, {KEY_COLUMNS}, key.id
    {_WANTED}
    LEFT JOIN LATERAL (
        (
            SELECT key.id, {KEY_COLUMNS}
            FROM project_key AS key
            WHERE (key.project_id, key.id) <= (project.id, wanted.start) AND key.project_id >= project.id
              AND wanted.active IS NOT FALSE AND (wanted.active IS NULL OR key.is_active)
            ORDER BY key.project_id DESC, key.id DESC
            OFFSET wanted.skip LIMIT wanted.most
        )
        UNION ALL
        (
            SELECT key.id, {KEY_COLUMNS}
            FROM project_key AS key
            WHERE (key.project_id, key.id) <= (project.id, wanted.start) AND key.project_id >= project.id
              AND wanted.active IS FALSE AND NOT key.is_active
            ORDER BY key.project_id DESC, key.id DESC
            OFFSET wanted.skip LIMIT wanted.most
        )
    ) AS key ON true
    ORDER BY wanted.position, key.id DESC
"""  # noqa: S608 -- the columns are a constant

_NEWER: Final = f"""
    SELECT wanted.position, {KEY_COLUMNS}, key.id
    {_WANTED}
    LEFT JOIN LATERAL (
        (
            SELECT key.id, {KEY_COLUMNS}
            FROM project_key AS key
            WHERE (key.project_id, key.id) > (project.id, wanted.start) AND key.project_id <= project.id
              AND wanted.active IS NOT FALSE AND (wanted.active IS NULL OR key.is_active)
            ORDER BY key.project_id, key.id
            OFFSET wanted.skip LIMIT wanted.most
        )
        UNION ALL
        (
            SELECT key.id, {KEY_COLUMNS}
            FROM project_key AS key
            WHERE (key.project_id, key.id) > (project.id, wanted.start) AND key.project_id <= project.id
              AND wanted.active IS FALSE AND NOT key.is_active
            ORDER BY key.project_id, key.id
            OFFSET wanted.skip LIMIT wanted.most
        )
    ) AS key ON true
    ORDER BY wanted.position, key.id DESC
"""  # noqa: S608 -- the columns are a constant


async def select_pages(connection: Connection, wanted: Sequence[KeyPage]) -> list[KeyRows | None]:
    """For each page its keys, and one more where there is one; None where the project is deleted.

    The results are shared and must not be changed.
    """
    found: list[list[tuple[Any, ...]]] = [[] for _ in wanted]
    for statement, newer in ((_OLDER, False), (_NEWER, True)):
        positions = [position for position, one in enumerate(wanted) if one.page.newer is newer]
        if not positions:
            continue
        columns = zip(*(_columns(wanted[position]) for position in positions), strict=True)
        for row in await connection.fetch(statement, *columns):
            found[positions[row[0] - 1]].append(row[1:])
    return [_page(rows) for rows in found]


def _page(rows: list[tuple[Any, ...]]) -> KeyRows | None:
    if not rows:
        return None
    return _known_rows(() if rows[0][-1] is None else tuple(rows))


@lru_cache(maxsize=_KEPT)
def _known_rows(rows: tuple[tuple[Any, ...], ...]) -> KeyRows:
    """The keys in these rows, and the same object for the same rows: lists are read again and again."""
    return KeyRows([row[-1] for row in rows], [known_key(row) for row in rows])


def _columns(one: KeyPage) -> tuple[object, ...]:
    page = one.page
    return (one.organization_id, one.project_id, page.first, page.skip, page.limit, one.active)


_OLDER_IDS: Final = """
    SELECT nearest.id
    FROM project
    CROSS JOIN LATERAL (
        (
            SELECT key.id
            FROM project_key AS key
            WHERE (key.project_id, key.id) <= (project.id, $2) AND key.project_id >= project.id
              AND $3::boolean IS NOT FALSE AND ($3 IS NULL OR key.is_active)
            ORDER BY key.project_id DESC, key.id DESC
            LIMIT $4::integer + $5::integer
        )
        UNION ALL
        (
            SELECT key.id
            FROM project_key AS key
            WHERE (key.project_id, key.id) <= (project.id, $2) AND key.project_id >= project.id
              AND $3 IS FALSE AND NOT key.is_active
            ORDER BY key.project_id DESC, key.id DESC
            LIMIT $4::integer + $5::integer
        )
    ) AS nearest
    WHERE project.organization_id = $1 AND project.deleted_at IS NULL
    ORDER BY nearest.id DESC
    OFFSET $4 LIMIT $5
"""

_NEWER_IDS: Final = """
    SELECT nearest.id
    FROM project
    CROSS JOIN LATERAL (
        (
            SELECT key.id
            FROM project_key AS key
            WHERE (key.project_id, key.id) > (project.id, $2) AND key.project_id <= project.id
              AND $3::boolean IS NOT FALSE AND ($3 IS NULL OR key.is_active)
            ORDER BY key.project_id, key.id
            LIMIT $4::integer + $5::integer
        )
        UNION ALL
        (
            SELECT key.id
            FROM project_key AS key
            WHERE (key.project_id, key.id) > (project.id, $2) AND key.project_id <= project.id
              AND $3 IS FALSE AND NOT key.is_active
            ORDER BY key.project_id, key.id
            LIMIT $4::integer + $5::integer
        )
    ) AS nearest
    WHERE project.organization_id = $1 AND project.deleted_at IS NULL
    ORDER BY nearest.id
    OFFSET $4 LIMIT $5
"""

_BY_IDS: Final = f"""
    SELECT {KEY_COLUMNS}, key.id, {PROJECT_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    JOIN organization ON organization.id = project.organization_id
    WHERE organization.id = $1 AND key.id = ANY ($2::bigint[]) AND project.deleted_at IS NULL
    ORDER BY key.id DESC
"""  # noqa: S608 -- the columns are constants


async def select_page_of_organization(
    connection: Connection, *, organization_id: int, page: Page, active: bool | None
) -> list[tuple[int, ProjectKey, Project]]:
    """Keys of all projects of an organization with their row ids, newest first, and one more where there is one.

    First the ids, a look at the index of each project; then the rows of those alone that are on the page.
    """
    statement = _NEWER_IDS if page.newer else _OLDER_IDS
    ids = await connection.fetch(statement, organization_id, page.first, active, page.skip, page.limit)
    rows = await connection.fetch(_BY_IDS, organization_id, [row["id"] for row in ids])
    return [(row["id"], known_key(row), project_from_row(row)) for row in rows]
