"""What operations share: parameters, headers, refusals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from marshmallow import Schema

from service.domain import errors
from service.http import refusals
from service.http.openapi.answers import InternalErrorAnswer, MovedAnswer, RefusalAnswer

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


@dataclass(frozen=True, slots=True)
class Refused:
    """An answer that ends a request early."""

    name: str
    description: str
    examples: Mapping[str, Any]
    schema: type[Schema] | JsonSchema = RefusalAnswer
    headers: tuple[str, ...] = ()


FIELD_MISTAKES: Final = "FieldMistakes"
_FIELD_MISTAKES_REF: Final = {"$ref": f"#/components/schemas/{FIELD_MISTAKES}"}
FIELD_MISTAKES_SCHEMA: Final[JsonSchema] = {
    "type": "object",
    "description": "What is wrong with each member; within a member that is an object, by its members.",
    "additionalProperties": {"anyOf": [{"type": "array", "items": {"type": "string"}}, _FIELD_MISTAKES_REF]},
}


def _of(error: errors.ProjectKeyError) -> Any:
    return refusals.of_domain_error(error).body


def _moved(status: str) -> Refused:
    body = refusals.moved("GET", "/api/0/projects/1/pumping-station/", "pumping-station").body
    return Refused(
        f"Moved{status}",
        "The project is called otherwise now; ask again where `Location` says.",
        {"renamed": body},
        MovedAnswer,
        ("Location",),
    )


REFUSALS: Final[Mapping[int, Refused]] = {
    302: _moved("ForReads"),
    308: _moved("ForWrites"),
    400: Refused(
        "BadRequest",
        "The request as a whole, or members of its body, cannot be understood.",
        {
            "no JSON": {"detail": "JSON parse error - Expecting value: line 1 column 1 (char 0)"},
            "members": {
                "name": ["Ensure this field has no more than 64 characters."],
                "rateLimit": {"window": ["A valid integer is required."]},
            },
        },
        {"anyOf": [RefusalAnswer, _FIELD_MISTAKES_REF]},
    ),
    401: Refused(
        "Unauthenticated",
        "There is no token, or none that is known.",
        {"none": {"detail": refusals.NO_CREDENTIALS}, "unknown": _of(errors.TokenInvalidError())},
        headers=("WWW-Authenticate",),
    ),
    403: Refused(
        "Forbidden",
        "The token is another organization's, or has none of the scopes that would do: those stand in "
        "`WWW-Authenticate`.",
        {"forbidden": {"detail": refusals.NO_PERMISSION}},
        headers=("WWW-Authenticate",),
    ),
    404: Refused(
        "NotFound",
        "There is no such organization, project or key, or another `format` than JSON is asked for.",
        {"none": _of(errors.NotFoundError())},
    ),
    406: Refused(
        "NotAcceptable",
        "Answers are JSON, and `Accept` leaves that out.",
        {"xml": {"detail": "Could not satisfy the request Accept header."}},
    ),
    408: Refused(
        "TooSlow",
        "The body did not arrive in time.",
        {"slow": {"detail": "The request body did not arrive in time."}},
    ),
    409: Refused(
        "Conflict",
        "The slug is in use, or a request with the same `Idempotency-Key` is still under way.",
        {"slug": _of(errors.TakenError("slug")), "under way": _of(errors.KeyInUseError())},
        headers=("Retry-After",),
    ),
    410: Refused(
        "Gone",
        "What the first request with this `Idempotency-Key` made is deleted.",
        {"gone": _of(errors.GoneError())},
    ),
    413: Refused("TooLarge", "The body is too large.", {"large": refusals.body_too_large(65_536).body}),
    415: Refused(
        "UnsupportedMediaType",
        "The body is neither JSON nor a form by its `Content-Type`, or it is compressed.",
        {"text": {"detail": 'Unsupported media type "text/plain" in request.'}},
    ),
    422: Refused(
        "OtherRequest",
        "The `Idempotency-Key` was used for another request.",
        {"other": _of(errors.KeyReusedError())},
    ),
    429: Refused(
        "TooMany",
        "The token has no request left in this second.",
        {
            "forty": {
                "detail": "You are attempting to use this endpoint too frequently. "
                "Limit is 40 requests in 1 seconds"
            }
        },
        headers=("Retry-After",),
    ),
    500: Refused(
        "InternalError",
        "The service failed.",
        {"failed": refusals.internal_error("dfa8531226e6d9320e0411770b1ba1db").body},
        InternalErrorAnswer,
    ),
    503: Refused(
        "Unavailable",
        "The service is busy, or its database cannot be reached; a write was not done, or is done once if it is sent "
        "again with its `Idempotency-Key`.",
        {"busy": _of(errors.BusyError()), "database": _of(errors.UnavailableError())},
        headers=("Retry-After",),
    ),
}
