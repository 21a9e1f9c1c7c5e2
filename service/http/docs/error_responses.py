"""Answers that end a request early, with an example of each in the words of what writes them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marshmallow import Schema, fields

from service.domain import errors
from service.http import errors as refusals
from service.http.docs.components import JsonSchema


class RefusalAnswer(Schema):
    """A refusal of the whole request."""

    detail = fields.String(required=True)

    class Meta:
        """Marshmallow's options."""

        description = "Why the request was refused."


class MovedExtraAnswer(Schema):
    """Where a renamed project is."""

    url = fields.String(required=True, metadata={"format": "uri-reference"})
    slug = fields.String(required=True)

    class Meta:
        """Marshmallow's options."""

        description = "Where the project is."


class MovedDetailAnswer(Schema):
    """What clients look into for it."""

    extra = fields.Nested(MovedExtraAnswer, required=True)

    class Meta:
        """Marshmallow's options."""

        description = "Where the project is."


class MovedAnswer(Schema):
    """A project is called otherwise now."""

    slug = fields.String(required=True)
    detail = fields.Nested(MovedDetailAnswer, required=True)

    class Meta:
        """Marshmallow's options."""

        description = "The project is called otherwise now."


class InternalErrorAnswer(RefusalAnswer):
    """The service failed."""

    error_id = fields.String(required=True, data_key="errorId")

    class Meta:
        """Marshmallow's options."""

        description = "The service failed; the log tells why."


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
    return refusals.from_domain_error(error).body


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
        "The token has no request left in this second, or its client address has sent too many unknown tokens.",
        {
            "forty": {
                "detail": "You are attempting to use this endpoint too frequently. "
                "Limit is 40 requests in 1 seconds"
            },
            "unknown tokens": _of(errors.TooManyUnknownTokensError()),
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
