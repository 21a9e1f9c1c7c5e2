"""The responses that report an error, with examples from the functions that create the bodies where possible."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marshmallow import Schema, fields

from service.domain import errors as domain_errors
from service.http import errors
from service.http.docs.components import JsonSchema


class Error(Schema):
    """An error that concerns the whole request."""

    detail = fields.String(required=True)


class RedirectTarget(Schema):
    """The project's new slug, and the path with it."""

    url = fields.String(required=True, metadata={"format": "uri-reference"})
    slug = fields.String(required=True)


class RedirectDetail(Schema):
    """The member in which Sentry's clients look for the new slug."""

    extra = fields.Nested(RedirectTarget, required=True)


class Redirect(Schema):
    """The project was renamed."""

    slug = fields.String(required=True)
    detail = fields.Nested(RedirectDetail, required=True)


class InternalError(Error):
    """The service failed; its log has the cause."""

    error_id = fields.String(required=True, data_key="errorId")


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    """A response that reports an error; ``name`` is its component name, ``examples`` are bodies by summary."""

    name: str
    description: str
    examples: Mapping[str, Any]
    schema: type[Schema] | JsonSchema = Error
    headers: tuple[str, ...] = ()


VALIDATION_ERRORS: Final = "ValidationErrors"
_VALIDATION_ERRORS_REF: Final = {"$ref": f"#/components/schemas/{VALIDATION_ERRORS}"}
VALIDATION_ERRORS_SCHEMA: Final[JsonSchema] = {
    "type": "object",
    "description": "The error messages of each invalid member; those of an object are listed by its own members.",
    "additionalProperties": {
        "anyOf": [{"type": "array", "items": {"type": "string"}}, _VALIDATION_ERRORS_REF]
    },
}


def _body(error: domain_errors.ProjectKeyError) -> Any:
    return errors.from_domain_error(error).body


def _redirect(name: str) -> ErrorResponse:
    body = errors.redirect("GET", "/api/0/projects/1/pumping-station/", "pumping-station").body
    return ErrorResponse(
        name,
        "The project was renamed; send the request to the URL in `Location`.",
        {"renamed": body},
        Redirect,
        ("Location",),
    )


ERROR_RESPONSES: Final[Mapping[int, ErrorResponse]] = {
    302: _redirect("Found"),
    308: _redirect("PermanentRedirect"),
    400: ErrorResponse(
        "BadRequest",
        "The request cannot be parsed, or members of its body are invalid.",
        {
            "not JSON": {"detail": "JSON parse error - Expecting value: line 1 column 1 (char 0)"},
            "invalid members": {
                "name": ["Ensure this field has no more than 64 characters."],
                "rateLimit": {"window": ["A valid integer is required."]},
            },
        },
        {"anyOf": [Error, _VALIDATION_ERRORS_REF]},
    ),
    401: ErrorResponse(
        "Unauthenticated",
        "The request has no token, or the token is unknown or expired.",
        {
            "no token": {"detail": errors.NO_CREDENTIALS},
            "unknown token": _body(domain_errors.TokenInvalidError()),
        },
        headers=("WWW-Authenticate",),
    ),
    403: ErrorResponse(
        "Forbidden",
        "The token belongs to another organization, or lacks the scope; `WWW-Authenticate` names the scopes of which "
        "one is required.",
        {"forbidden": {"detail": errors.NO_PERMISSION}},
        headers=("WWW-Authenticate",),
    ),
    404: ErrorResponse(
        "NotFound",
        "The organization, project or key does not exist, or `format` names another format than `json`.",
        {"not found": _body(domain_errors.NotFoundError())},
    ),
    406: ErrorResponse(
        "NotAcceptable",
        "Responses are JSON, and `Accept` excludes it.",
        {"XML": {"detail": "Could not satisfy the request Accept header."}},
    ),
    408: ErrorResponse(
        "RequestTimeout",
        "The body did not arrive in time.",
        {"timeout": {"detail": "The request body did not arrive in time."}},
    ),
    409: ErrorResponse(
        "Conflict",
        "The slug is in use, or a request with the same `Idempotency-Key` is still in progress.",
        {
            "slug in use": _body(domain_errors.TakenError("slug")),
            "request in progress": _body(domain_errors.IdempotencyKeyInUseError()),
        },
        headers=("Retry-After",),
    ),
    410: ErrorResponse(
        "Gone",
        "The resource that the first request with this `Idempotency-Key` created was deleted.",
        {"deleted": _body(domain_errors.GoneError())},
    ),
    413: ErrorResponse(
        "ContentTooLarge", "The body is too large.", {"too large": errors.body_too_large(65_536).body}
    ),
    415: ErrorResponse(
        "UnsupportedMediaType",
        "The `Content-Type` is neither JSON nor a form, or the body is compressed.",
        {"plain text": {"detail": 'Unsupported media type "text/plain" in request.'}},
    ),
    422: ErrorResponse(
        "IdempotencyKeyReused",
        "The `Idempotency-Key` was used for a different request.",
        {"reused": _body(domain_errors.IdempotencyKeyReusedError())},
    ),
    429: ErrorResponse(
        "TooManyRequests",
        "The token exceeds its requests per second.",
        {
            "rate limit": {
                "detail": "You are attempting to use this endpoint too frequently. "
                "Limit is 40 requests in 1 seconds"
            },
        },
        headers=("Retry-After",),
    ),
    500: ErrorResponse(
        "InternalError",
        "The service failed.",
        {"failed": errors.internal_error("dfa8531226e6d9320e0411770b1ba1db").body},
        InternalError,
    ),
    503: ErrorResponse(
        "ServiceUnavailable",
        "The service is overloaded, or its database is unavailable. The write was not committed, or its result is "
        "unknown; retry with the same `Idempotency-Key` to execute it exactly once.",
        {"overloaded": _body(domain_errors.BusyError()), "database": _body(domain_errors.UnavailableError())},
        headers=("Retry-After",),
    ),
}
