"""The query parameter ``query`` of the list of projects, in the syntax of Sentry's API."""

import re
from collections import defaultdict
from typing import Final

from service.domain.model import MAX_BIGINT
from service.domain.project_search import ProjectSearch
from service.http.errors import HttpError
from service.http.fields import character_errors

_TOKEN: Final = re.compile(r'(?:[^\s"]|"[^"]*"?)+')
"""Words; a part in double quotes can contain spaces."""

_TEXT: Final = "query"
"""The field of words without a colon; Sentry's API accepts it in words too."""

_FIELDS: Final = frozenset({"id", "slug", "name", "dsn", _TEXT})
_MAX_DIGITS: Final = 19


def project_search(query: str) -> ProjectSearch | None:
    """Return the search that ``query`` describes, or None if it matches no project, for example by an unknown field.

    Words such as ``slug:a`` are conditions, of which those with the same field are alternatives; all words without a
    colon are one text.

    Raises:
        HttpError: 400 if an id is not a number.
    """
    if character_errors(query):  # no row contains such a text
        return None
    values = defaultdict[str, list[str]](list)
    for token in _TOKEN.findall(query):
        field, colon, value = token.partition(":")
        is_text = not colon or token.startswith('"')
        values[_TEXT if is_text else field].append((token if is_text else value).replace('"', ""))
    if not values.keys() <= _FIELDS:
        return None
    return ProjectSearch(
        ids=_ids(values["id"]) if "id" in values else None,
        slugs=values.get("slug"),
        names=values.get("name"),
        public_keys=values.get("dsn"),
        text=" ".join(values[_TEXT]) or None,
    )


def _ids(texts: list[str]) -> list[int]:
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise HttpError(400, {"query": ["The value of id: must be an integer."]})
    return [number for text in texts if len(text) <= _MAX_DIGITS and (number := int(text)) <= MAX_BIGINT]
