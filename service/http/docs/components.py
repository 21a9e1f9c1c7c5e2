"""The parameters and headers that operations share."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from service.domain.model import MAX_BIGINT

JsonSchema = Mapping[str, Any]

_EMPTY: Final = {"const": ""}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter in the path, the query or the headers of a request; its name is by default that in `PARAMETERS`."""

    location: Literal["path", "query", "header"]
    description: str
    schema: JsonSchema
    example: Any
    name: str = ""


PARAMETERS: Final[Mapping[str, Parameter]] = {
    "organization": Parameter("path", "The id or slug of an organization.", {"type": "string"}, "1"),
    "project": Parameter("path", "The id or slug of a project.", {"type": "string"}, "pump-station"),
    "key_id": Parameter("path", "A public key.", {"type": "string"}, "889a038dcce86f89a24e2c5bcf7b2e41"),
    "per_page": Parameter(
        "query",
        "Items per page; 10 by default.",
        {"type": "integer", "minimum": 1, "maximum": 100},
        100,
    ),
    "status": Parameter(
        "query",
        "`active` or `inactive`: only keys with this status. Any other text matches no key.",
        {"type": "string"},
        "active",
    ),
    "team": Parameter(
        "query", "Teams are not supported: any value results in 404.", {"type": "string", "maxLength": 0}, ""
    ),
    "cursor": Parameter(
        "query",
        "The start of the page, from the `Link` header of another page.",
        {"type": "string", "pattern": "^(-?[0-9]{1,18}:[0-9]{1,4}:-?[0-9]{1,4})?$"},
        "15:0:0",
    ),
    "query": Parameter(
        "query",
        "Only projects that match every word: `slug:`, `id:`, `name:` or `dsn:` (a public key) with a value, or a "
        "part of the name or the slug. Quotes enclose spaces; of the words with the same prefix one must match. Any "
        "other word with a colon matches no project.",
        {"type": "string"},
        "pump",
    ),
    "projects_per_page": Parameter(
        "query",
        "Projects per page; 100 by default.",
        {"type": "integer", "minimum": 1, "maximum": 100},
        100,
        name="per_page",
    ),
    "projects_cursor": Parameter(
        "query",
        "The page, from the `Link` header of another page; at most 10000 projects come before it.",
        {"type": "string", "pattern": "^((100|[0-9]{1,2}):[0-9]{1,2}:-?[0-9]{1,4})?$"},
        "100:1:0",
        name="cursor",
    ),
    "all_projects": Parameter(
        "query", "`1`: all projects in one page, at most 10000.", {"type": "string"}, "1"
    ),
    "event": Parameter("query", "Only entries with this event.", {"type": "string"}, "projectkey.create"),
    "actor": Parameter(
        "query",
        "Only entries of the token with this id.",
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": MAX_BIGINT}, _EMPTY]},
        1,
    ),
    "target": Parameter(
        "query",
        "Only entries with this public key, slug or name as `target`.",
        {"type": "string"},
        "pump-station",
    ),
    "Idempotency-Key": Parameter(
        "header",
        "A text that identifies this request, with or without quotes. A request that is repeated with the same key "
        "within 24 hours is executed once.",
        {"type": "string", "pattern": '^(?!""$)([!-~]{1,255}|"[!-~]{1,255}")$'},
        "3f1c7e0e-6b0b-4c39-8a0f-0b7f4a3f6d1a",
    ),
    "Prefer": Parameter(
        "header",
        "`wait=N`: respond when Kafka has acknowledged the event, or after N seconds, at most 30. Other values are "
        "ignored.",
        {"type": "string"},
        "wait=5",
    ),
    "X-Request-Id": Parameter(
        "header",
        "The id of this request in the response, the log and the event: 1 to 128 letters, digits, `.`, `_` or `-`. "
        "An id is generated if the header is absent or invalid.",
        {"type": "string"},
        "deploy-42",
    ),
}


@dataclass(frozen=True, slots=True)
class Header:
    """A response header; ``always`` means that every response that lists the header has it."""

    description: str
    schema: JsonSchema
    always: bool = False


HEADERS: Final[Mapping[str, Header]] = {
    "X-Request-Id": Header(
        "The request's id.", {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"}, always=True
    ),
    **{
        f"X-Sentry-Rate-Limit-{name}": Header(text, {"type": "string", "pattern": "^[0-9]+$"}, always=True)
        for name, text in {
            "Limit": "Requests per second of the token; 1000000 if it has no limit.",
            "Remaining": "Requests that remain in this second.",
            "Reset": "The start of the next second, in Unix time.",
            "ConcurrentLimit": "The maximum number of concurrent requests.",
            "ConcurrentRemaining": "Further requests that can be sent concurrently.",
        }.items()
    },
    "Allow": Header("The methods of the path.", {"type": "string"}, always=True),
    "Link": Header(
        'The pages before and after this page: `<URL>; rel="previous"; results="false"; cursor="4:0:1", '
        '<URL>; rel="next"; …`. `results` shows whether the page has items.',
        {"type": "string"},
        always=True,
    ),
    "Event-Id": Header(
        "The id of the event that announces the change.", {"type": "string", "format": "uuid"}
    ),
    "Event-Status": Header(
        "`published`: Kafka has acknowledged the event; `pending`: it will be published; `unchanged`: the request "
        "changed nothing, so there is no event.",
        {"type": "string", "enum": ["published", "pending", "unchanged"]},
        always=True,
    ),
    "Preference-Applied": Header(
        "The part of `Prefer` that was applied.", {"type": "string", "pattern": "^wait=[0-9]+$"}
    ),
    "Idempotent-Replayed": Header(
        "The response is that of an earlier request with the same `Idempotency-Key`.",
        {"type": "string", "enum": ["true"]},
    ),
    "Location": Header("The URL of the request with the new slug.", {"type": "string"}, always=True),
    "Retry-After": Header("Seconds to wait before a retry.", {"type": "string", "pattern": "^[0-9]+$"}),
    "WWW-Authenticate": Header("The required credentials.", {"type": "string"}),
}

ON_EVERY_RESPONSE: Final = ("X-Request-Id", *(name for name in HEADERS if name.startswith("X-Sentry-")))
