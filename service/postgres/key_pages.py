"""Pages of keys of the table project_key, newest first; a page reads only its own rows."""

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from service.domain.model import Project
from service.domain.pagination import Page
from service.postgres.database import Connection
from service.postgres.keys import KEY_COLUMNS, KEY_WIDTH, KeyColumns
from service.postgres.projects import PROJECT_COLUMNS, project_from_row


class KeyPage(NamedTuple):
    """A page of the keys of a project; ``active`` None means active and inactive keys."""

    organization_id: int
    project_id: int
    page: Page
    active: bool | None


class KeySearch(NamedTuple):
    """A page of the keys whose names contain ``text``, in whatever case."""

    keys: KeyPage
    text: str


MAX_SEARCHED: Final = 20_000
"""Keys that are read for one page of a search."""

PageRow: TypeAlias = tuple[int, KeyColumns]
"""The row id and the columns of a key."""

_WANTED: Final = """
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::integer[], $5::integer[], $6::boolean[])
         WITH ORDINALITY AS wanted (organization_id, project_id, start, skip, most, active, position)
    JOIN project ON project.id = wanted.project_id AND project.organization_id = wanted.organization_id
                    AND project.deleted_at IS NULL
"""


def _nearest_keys(columns: str, *, start: str, active: str, limit: str, newer: bool) -> str:
    """Return a subquery of the keys of ``project`` that are next to ``start``; the arguments are SQL expressions.

    One half of the union is read: the second uses the index of inactive keys, of which there are few. Each half is a
    range of its index in the order of the index: with `project_id =` Postgres prefers to scan the ids of all keys
    downwards, which is slow if there are many keys of other projects.
    """
    after, bound, order = (">", "<=", "") if newer else ("<=", ">=", " DESC")
    halves = [
        f"""(
            SELECT {columns}
            FROM project_key AS key
            WHERE (key.project_id, key.id) {after} (project.id, {start}) AND key.project_id {bound} project.id
              AND {condition}
            ORDER BY key.project_id{order}, key.id{order}
            {limit}
        )"""
        for condition in (
            f"{active} IS NOT FALSE AND ({active} IS NULL OR key.is_active)",
            f"{active} IS FALSE AND NOT key.is_active",
        )
    ]
    return " UNION ALL ".join(halves)


def _pages(*, newer: bool) -> str:
    keys = _nearest_keys(
        KEY_COLUMNS,
        start="wanted.start",
        active="wanted.active",
        limit="OFFSET wanted.skip LIMIT wanted.most",
        newer=newer,
    )
    # LEFT JOIN: a page without keys has one row of NULLs; only the page of a deleted project has no row.
    return f"""
        SELECT wanted.position, {KEY_COLUMNS}
        {_WANTED}
        LEFT JOIN LATERAL ({keys}) AS key ON true
        ORDER BY wanted.position, key.id DESC
    """


_OLDER: Final = _pages(newer=False)
_NEWER: Final = _pages(newer=True)


async def select_pages(connection: Connection, pages: Sequence[KeyPage]) -> list[list[PageRow] | None]:
    """Return the rows of each page, and the next row if it exists; None if the project is deleted."""
    found: list[list[PageRow] | None] = [None] * len(pages)
    for statement, newer in ((_OLDER, False), (_NEWER, True)):
        positions = [position for position, page in enumerate(pages) if page.page.newer is newer]
        if not positions:
            continue
        columns = zip(*(_arguments(pages[position]) for position in positions), strict=True)
        for row in await connection.fetch(statement, *columns):
            position, row_id = positions[row[0] - 1], row[-1]
            rows = found[position]
            if rows is None:
                rows = found[position] = []
            if row_id is not None:
                rows.append((row_id, row[1:]))
    return found


def _arguments(page: KeyPage) -> tuple[object, ...]:
    start, skip, limit = page.page.first, page.page.skip, page.page.limit
    return (page.organization_id, page.project_id, start, skip, limit, page.active)


def _ids(*, newer: bool) -> str:
    keys = _nearest_keys(
        "key.id", start="$2", active="$3::boolean", limit="LIMIT $4::integer + $5::integer", newer=newer
    )
    return f"""
        SELECT nearest.id
        FROM project
        CROSS JOIN LATERAL ({keys}) AS nearest
        WHERE project.organization_id = $1 AND project.deleted_at IS NULL
        ORDER BY nearest.id{"" if newer else " DESC"}
        OFFSET $4 LIMIT $5
    """


_OLDER_IDS: Final = _ids(newer=False)
_NEWER_IDS: Final = _ids(newer=True)

_BY_IDS: Final = f"""
    SELECT {KEY_COLUMNS}, {PROJECT_COLUMNS}
    FROM project_key AS key
    JOIN project ON project.id = key.project_id
    JOIN organization ON organization.id = project.organization_id
    WHERE organization.id = $1 AND key.id = ANY ($2::bigint[]) AND project.deleted_at IS NULL
    ORDER BY key.id DESC
"""


async def select_page_of_organization(
    connection: Connection, *, organization_id: int, page: Page, active: bool | None
) -> list[tuple[int, KeyColumns, Project]]:
    """Return rows of all projects of an organization, newest first, and the next row if it exists.

    The first statement reads the ids from the index of each project; the second reads only the rows of the page.
    """
    statement = _NEWER_IDS if page.newer else _OLDER_IDS
    ids = await connection.fetch(statement, organization_id, page.first, active, page.skip, page.limit)
    rows = await connection.fetch(_BY_IDS, organization_id, [row["id"] for row in ids])
    return [(row["id"], row[:KEY_WIDTH], project_from_row(row)) for row in rows]


def _matching(columns: str, rest: str, *, newer: bool) -> str:
    """Return a statement on the keys that a search reads, at most `MAX_SEARCHED`, in the order of the index."""
    sort = "" if newer else " DESC"
    keys = _nearest_keys(
        columns, start="$3::bigint", active="$4::boolean", limit=f"LIMIT {MAX_SEARCHED}", newer=newer
    )
    return f"""
        SELECT key.* FROM project CROSS JOIN LATERAL ({keys}) AS key
        WHERE project.organization_id = $1 AND project.id = $2 AND project.deleted_at IS NULL
          {rest.format(sort=sort)}
    """


_BY_NAME: Final = "AND strpos(lower(key.label), lower($5)) > 0 ORDER BY key.id{sort} OFFSET $6 LIMIT $7"
_LAST: Final = f"ORDER BY key.id{{sort}} OFFSET {MAX_SEARCHED - 1} LIMIT 1"

_SEARCH_OLDER: Final = _matching(KEY_COLUMNS, _BY_NAME, newer=False)
_SEARCH_NEWER: Final = _matching(KEY_COLUMNS, _BY_NAME, newer=True)
_LAST_OLDER: Final = _matching("key.project_id, key.id", _LAST, newer=False)
_LAST_NEWER: Final = _matching("key.project_id, key.id", _LAST, newer=True)


async def search_keys(connection: Connection, search: KeySearch) -> tuple[list[PageRow], int | None]:
    """Return the rows of a page and the next row, ids descending, and where the search stopped early."""
    keys, page = search.keys, search.keys.page
    by_name, last = (_SEARCH_NEWER, _LAST_NEWER) if page.newer else (_SEARCH_OLDER, _LAST_OLDER)
    scope = (keys.organization_id, keys.project_id, page.first, keys.active)
    found = await connection.fetch(by_name, *scope, search.text, page.skip, page.limit)
    rows = sorted(((row["id"], row[:KEY_WIDTH]) for row in found), key=lambda row: -row[0])
    if len(rows) > page.size:
        return rows, None
    read = await connection.fetchrow(last, *scope)
    return rows, None if read is None else read["id"]
