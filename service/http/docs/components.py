"""What operations share: parameters and headers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

JsonSchema = Mapping[str, Any]

_GREATEST_ID: Final = 2**63 - 1
_OR_EMPTY: Final = {"const": ""}


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something of a request beside its body."""

    where: Literal["path", "query", "header"]
    description: str
    schema: JsonSchema
    example: Any


PARAMETERS: Final[Mapping[str, Parameter]] = {
    "organization": Parameter("path", "An organization's id or slug.", {"type": "string"}, "1"),
    "project": Parameter("path", "A project's id or slug.", {"type": "string"}, "pump-station"),
    "key_id": Parameter("path", "A public key.", {"type": "string"}, "889a038dcce86f89a24e2c5bcf7b2e41"),
    "per_page": Parameter(
        "query",
        "Entries on a page; 10 if it is not said.",
        {"type": "integer", "minimum": 1, "maximum": 100},
        100,
    ),
    "status": Parameter(
        "query",
        "`active` or `inactive`: keys that are so alone. Every other word finds none.",
        {"type": "string"},
        "active",
    ),
    "team": Parameter(
        "query", "There are no teams: every one is answered by 404.", {"type": "string", "maxLength": 0}, ""
    ),
    "cursor": Parameter(
        "query",
        "Where the page begins, as the `Link` of another page says.",
        {"type": "string", "pattern": "^(-?[0-9]{1,18}:[0-9]{1,4}:-?[0-9]{1,4})?$"},
        "15:0:0",
    ),
    "event": Parameter("query", "Entries of this event alone.", {"type": "string"}, "projectkey.create"),
    "actor": Parameter(
        "query",
        "Entries of the token with this id alone.",
        {"anyOf": [{"type": "integer", "minimum": 0, "maximum": _GREATEST_ID}, _OR_EMPTY]},
        1,
    ),
    "target": Parameter(
        "query", "Entries of this public key, slug or name alone.", {"type": "string"}, "pump-station"
    ),
    "Idempotency-Key": Parameter(
        "header",
        "A name of the caller's for this request, bare or in quotes: sent again with the same one within a day, it "
        "happens once.",
        {"type": "string", "pattern": '^(?!""$)([!-~]{1,255}|"[!-~]{1,255}")$'},
        "3f1c7e0e-6b0b-4c39-8a0f-0b7f4a3f6d1a",
    ),
    "Prefer": Parameter(
        "header",
        "`wait=N`: answer when Kafka has the event, or after N seconds, at most 30. What is not of this form is "
        "ignored.",
        {"type": "string"},
        "wait=5",
    ),
    "X-Request-Id": Parameter(
        "header",
        "An id for this request in the answer, the log and the event: 1 to 128 letters, digits, `.`, `_` or `-`; "
        "another one is chosen if it is not of this form.",
        {"type": "string"},
        "deploy-42",
    ),
}


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer; ``always`` says that no answer for which it is named is without it."""

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
            "Limit": "Requests that the token has in a second; a million where it has no limit.",
            "Remaining": "How many of them are left.",
            "Reset": "When they begin anew, in seconds since 1970.",
            "ConcurrentLimit": "Requests that are answered at a time.",
            "ConcurrentRemaining": "How many more could be.",
        }.items()
    },
    "Allow": Header("The methods of the path.", {"type": "string"}, always=True),
    "Link": Header(
        'The pages before and after this one: `<URL>; rel="previous"; results="false"; cursor="4:0:1", '
        '<URL>; rel="next"; …`. `results` says whether there is anything on it.',
        {"type": "string"},
        always=True,
    ),
    "Event-Id": Header("The id of the event that tells of the change.", {"type": "string", "format": "uuid"}),
    "Event-Status": Header(
        "`published`: Kafka has it; `pending`: it will; `unchanged`: there is nothing to tell.",
        {"type": "string", "enum": ["published", "pending", "unchanged"]},
        always=True,
    ),
    "Preference-Applied": Header(
        "What was made of `Prefer`.", {"type": "string", "pattern": "^wait=[0-9]+$"}
    ),
    "Idempotent-Replayed": Header(
        "The request had been answered before, and nothing was done again.",
        {"type": "string", "enum": ["true"]},
    ),
    "Location": Header("The same request with the new slug.", {"type": "string"}, always=True),
    "Retry-After": Header(
        "Seconds until it is worth another try.", {"type": "string", "pattern": "^[0-9]+$"}
    ),
    "WWW-Authenticate": Header("What credentials would do.", {"type": "string"}),
}


ON_EVERY_ANSWER: Final = ("X-Request-Id", *(name for name in HEADERS if name.startswith("X-Sentry-")))
