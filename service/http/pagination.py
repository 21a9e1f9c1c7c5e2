"""Pages of a list: the page that a request selects, and the Link header with the adjacent pages.

A cursor has the format ``value:offset:direction`` of Sentry's API; clients send it unchanged.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from service.domain.model import MAX_BIGINT
from service.domain.pagination import Page
from service.http.dispatcher import RequestContext
from service.http.errors import HttpError
from service.http.request import query_parameter

_DEFAULT_PAGE_SIZE: Final = 10
_FIRST_PAGE: Final = Page(size=_DEFAULT_PAGE_SIZE)
_MAX_PAGE_SIZE: Final = 100
_MAX_OFFSET: Final = 10_000
"""Rows that a cursor may skip; the cursors of lists of keys and of audit entries skip at most one page."""

_RESULTS: Final = {False: "false", True: "true"}


def requested_page(context: RequestContext) -> Page:
    """Return the page that the query parameters ``cursor`` and ``per_page`` select.

    Raises:
        HttpError: 400 if one of them is invalid.
    """
    if not context.request.rel_url.raw_query_string:
        return _FIRST_PAGE
    size = _page_size(context, _DEFAULT_PAGE_SIZE)
    cursor = query_parameter(context.request, "cursor")
    return _page(cursor, size) if cursor else Page(size=size)


def _page_size(context: RequestContext, default: int) -> int:
    per_page = query_parameter(context.request, "per_page")
    if per_page is None:
        return default
    try:
        size = int(per_page)
    except ValueError:
        raise HttpError(400, "Invalid per_page parameter.") from None
    if not 1 <= size <= _MAX_PAGE_SIZE:
        raise HttpError(400, f"Invalid per_page value. Must be between 1 and {_MAX_PAGE_SIZE}.")
    return size


def _page(cursor: str, size: int) -> Page:
    value, offset, direction = _cursor_parts(cursor)
    newer = direction != 0
    return Page(size=size, start=value if value or newer else None, skip=offset, newer=newer)


def _cursor_parts(cursor: str) -> tuple[int, int, int]:
    invalid = HttpError(400, "Invalid cursor parameter.")
    try:
        value, offset, direction = (int(part) for part in cursor.split(":"))
    except ValueError:
        raise invalid from None
    if abs(value) > MAX_BIGINT or not 0 <= offset <= _MAX_OFFSET:
        raise invalid
    return value, offset, direction


@dataclass(frozen=True, slots=True)
class OffsetPage:
    """A page of a list whose cursors are ``size:number:direction``.

    Attributes:
        size: Maximum number of rows.
        number: The number of pages before it.
        skip: The number of rows before it.
    """

    size: int
    number: int = 0
    skip: int = 0


def requested_offset_page(context: RequestContext) -> OffsetPage:
    """Return the page that ``cursor`` and ``per_page`` select; it has `_MAX_PAGE_SIZE` rows by default.

    Raises:
        HttpError: 400 if one of them is invalid, or the page starts after `_MAX_OFFSET` rows.
    """
    size = _page_size(context, _MAX_PAGE_SIZE)
    cursor = query_parameter(context.request, "cursor")
    if not cursor:
        return OffsetPage(size)
    value, number, _ = _cursor_parts(cursor)
    if not 0 <= value * number < _MAX_OFFSET:
        raise HttpError(400, "Invalid cursor parameter.")
    return OffsetPage(size, number, value * number)


def offset_link_header(context: RequestContext, page: OffsetPage, *, has_next: bool) -> str:
    """Return the Link header of ``page``; ``has_next`` says whether there are rows after it."""
    size, number = page.size, page.number
    has_next = has_next and size * (number + 1) < _MAX_OFFSET
    return _link_header(context, (f"{size}:{number - 1}:1", number > 0), (f"{size}:{number + 1}:0", has_next))


def link_header(context: RequestContext, page: Page, ids: Sequence[int], *, last_read: int | None = None) -> str:
    """Return the Link header of ``page``.

    Args:
        context: The request.
        page: The requested page.
        ids: The ids of the selected rows, at most ``page.limit``, in descending order.
        last_read: Where a search stopped before it had enough rows; the adjacent page continues there.
    """
    previous, following = _previous(page, ids), _next(page, ids)
    if last_read is not None and page.newer:
        previous = f"{last_read}:0:1", True
    elif last_read is not None:
        following = f"{last_read - 1}:0:0", True
        previous = previous if ids else (f"{page.start or 0}:0:1", page.start is not None)
    return _link_header(context, previous, following)


def _link_header(context: RequestContext, previous_page: tuple[str, bool], next_page: tuple[str, bool]) -> str:
    """Return the header with the cursors of the adjacent pages, each with whether that page has rows."""
    others = ""
    if context.request.rel_url.raw_query_string:
        others = urlencode([(name, value) for name, value in context.request.query.items() if name != "cursor"])
    # The path of a list needs no quoting: its parts consist of letters, digits, "-" and "_".
    url = f"{context.server.links_base}{context.request.path}?{others}&cursor="
    (previous, has_previous), (following, has_following) = previous_page, next_page
    return (
        f'<{url}{previous}>; rel="previous"; results="{_RESULTS[has_previous]}"; cursor="{previous}", '
        f'<{url}{following}>; rel="next"; results="{_RESULTS[has_following]}"; cursor="{following}"'
    )


def _previous(page: Page, ids: Sequence[int]) -> tuple[str, bool]:
    shown = page.of(ids)
    has_rows = len(ids) > page.size if page.newer else page.start is not None or page.skip > 0
    return f"{shown[0] if shown else 0}:0:1", has_rows


def _next(page: Page, ids: Sequence[int]) -> tuple[str, bool]:
    if page.newer:
        return f"{page.start}:{page.skip}:0", True
    if not ids:
        return f"{page.start or 0}:{page.skip}:0", False
    if len(ids) > page.size:
        return f"{ids[-1]}:0:0", True
    # As in Sentry's API, the cursor skips a whole page if the page starts at its last row.
    is_single = ids[-1] == (page.start or ids[0])
    return f"{ids[-1]}:{page.skip + page.size if is_single else 1}:0", False
