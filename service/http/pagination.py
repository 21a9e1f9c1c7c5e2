"""Pages of a list: the Link header."""

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from service.http.state import Call


def first_page_link(call: Call, numbers: Sequence[int], *, page: int) -> str:
    """The Link header of a list's first page.

    Args:
        call: the request.
        numbers: the row ids of the page, and of one row more where there is one; greatest first.
        page: how many rows a page has.
    """
    more = len(numbers) > page
    first = numbers[0] if numbers else 0
    previous = f"{first}:0:1"
    following = f"{numbers[page]}:0:0" if more else _end(numbers, page)
    return ", ".join(
        (
            _relation(call, "previous", previous, results=False),
            _relation(call, "next", following, results=more),
        )
    )


def _end(numbers: Sequence[int], page: int) -> str:
    if not numbers:
        return "0:0:0"
    # Clients only follow what has results; the offset past a lone row is the form that they have always seen.
    offset = page if len(numbers) == 1 else 1
    return f"{numbers[-1]}:{offset}:0"


def _relation(call: Call, name: str, cursor: str, *, results: bool) -> str:
    request = call.request
    others = urlencode([(key, value) for key, value in request.query.items() if key != "cursor"])
    url = f"{call.api.links_base}{quote(request.path)}?{others}&cursor={cursor}"
    return f'<{url}>; rel="{name}"; results="{str(results).lower()}"; cursor="{cursor}"'
