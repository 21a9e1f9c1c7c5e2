"""Pages of a list: which one a request asks for, and the Link header that leads to its neighbours.

The cursors, ``value:offset:direction``, are those of Sentry's API, whose clients send them back as they came.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from service.domain.pagination import Page
from service.http.errors import HttpError
from service.http.queries import last
from service.http.state import RequestContext

_PER_PAGE: Final = 10
_FIRST: Final = Page(size=_PER_PAGE)
_MOST_PER_PAGE: Final = 100
_GREATEST_ID: Final = 2**63 - 1
_GREATEST_OFFSET: Final = 10_000
"""The cursors that are handed out skip a page at most."""

_WORDS: Final = {False: "false", True: "true"}


def asked_page(context: RequestContext) -> Page:
    """The page that ``cursor`` and ``per_page`` name.

    Raises:
        Refusal: 400; one of them is none.
    """
    if not context.request.query:
        return _FIRST
    size = _per_page(last(context.request, "per_page"))
    cursor = last(context.request, "cursor")
    return _page(cursor, size) if cursor else Page(size=size)


def _per_page(said: str | None) -> int:
    if said is None:
        return _PER_PAGE
    try:
        size = int(said)
    except ValueError:
        raise HttpError(400, "Invalid per_page parameter.") from None
    if not 1 <= size <= _MOST_PER_PAGE:
        raise HttpError(400, f"Invalid per_page value. Must be between 1 and {_MOST_PER_PAGE}.")
    return size


def _page(cursor: str, size: int) -> Page:
    invalid = HttpError(400, "Invalid cursor parameter.")
    try:
        value, offset, direction = (int(part) for part in cursor.split(":"))
    except ValueError:
        raise invalid from None
    if abs(value) > _GREATEST_ID or not 0 <= offset <= _GREATEST_OFFSET:
        raise invalid
    newer = direction != 0
    return Page(size=size, start=value if value or newer else None, skip=offset, newer=newer)


def link(context: RequestContext, page: Page, found: Sequence[int]) -> str:
    """The Link header beside ``page``.

    Args:
        context: the request.
        page: what it asked for.
        found: the ids of the rows that were found for it, at most its `limit`, greatest first.
    """
    query = context.request.query
    others = urlencode([(key, value) for key, value in query.items() if key != "cursor"]) if query else ""
    # The names in a list's path are letters, digits, "-" and "_": there is nothing in it to be quoted.
    url = f"{context.api.links_base}{context.request.path}?{others}&cursor="
    previous, newer = _previous(page, found)
    following, older = _next(page, found)
    return (
        f'<{url}{previous}>; rel="previous"; results="{_WORDS[newer]}"; cursor="{previous}", '
        f'<{url}{following}>; rel="next"; results="{_WORDS[older]}"; cursor="{following}"'
    )


def _previous(page: Page, found: Sequence[int]) -> tuple[str, bool]:
    shown = page.of(found)
    more = len(found) > page.size if page.newer else page.start is not None or page.skip > 0
    return f"{shown[0] if shown else 0}:0:1", more


def _next(page: Page, found: Sequence[int]) -> tuple[str, bool]:
    if page.newer:
        return f"{page.start}:{page.skip}:0", True
    if not found:
        return f"{page.start or 0}:{page.skip}:0", False
    if len(found) > page.size:
        return f"{found[-1]}:0:0", True
    # Where the page begins with its last row, clients have always seen the offset that leads past a whole page.
    is_alone = found[-1] == (page.start or found[0])
    return f"{found[-1]}:{page.skip + page.size if is_alone else 1}:0", False
