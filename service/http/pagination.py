"""Pages of a list: the page that a request selects, and the Link header with the adjacent pages.

A cursor has the format ``value:offset:direction`` of Sentry's API; clients send it unchanged.
"""

from collections.abc import Sequence
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
"""Rows that a cursor may skip; the cursors of this service skip at most one page."""

_RESULTS: Final = {False: "false", True: "true"}


def requested_page(context: RequestContext) -> Page:
    """Return the page that the query parameters ``cursor`` and ``per_page`` select.

    Raises:
        HttpError: 400 if one of them is invalid.
    """
    if not context.request.query:
        return _FIRST_PAGE
    size = _page_size(query_parameter(context.request, "per_page"))
    cursor = query_parameter(context.request, "cursor")
    return _page(cursor, size) if cursor else Page(size=size)


def _page_size(per_page: str | None) -> int:
    if per_page is None:
        return _DEFAULT_PAGE_SIZE
    try:
        size = int(per_page)
    except ValueError:
        raise HttpError(400, "Invalid per_page parameter.") from None
    if not 1 <= size <= _MAX_PAGE_SIZE:
        raise HttpError(400, f"Invalid per_page value. Must be between 1 and {_MAX_PAGE_SIZE}.")
    return size


def _page(cursor: str, size: int) -> Page:
    invalid = HttpError(400, "Invalid cursor parameter.")
    try:
        value, offset, direction = (int(part) for part in cursor.split(":"))
    except ValueError:
        raise invalid from None
    if abs(value) > MAX_BIGINT or not 0 <= offset <= _MAX_OFFSET:
        raise invalid
    newer = direction != 0
    return Page(size=size, start=value if value or newer else None, skip=offset, newer=newer)


def link_header(context: RequestContext, page: Page, ids: Sequence[int]) -> str:
    """Return the Link header of ``page``.

    Args:
        context: The request.
        page: The requested page.
        ids: The ids of the selected rows, at most ``page.limit``, in descending order.
    """
    others = [(name, value) for name, value in context.request.query.items() if name != "cursor"]
    # The path of a list needs no quoting: its parts consist of letters, digits, "-" and "_".
    url = f"{context.server.links_base}{context.request.path}?{urlencode(others)}&cursor="
    previous, has_previous = _previous(page, ids)
    following, has_following = _next(page, ids)
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
