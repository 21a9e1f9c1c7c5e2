"""Hooks that schemathesis loads: unique values for requests, and a filter for false findings."""

import itertools
import re
import secrets
from typing import Any

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.openapi.checks import RejectedPositiveData

_REUSED = {410, 422}
"""The Idempotency-Key belongs to another request, or the resource that this created was deleted."""
_NOT_IN_A_SCHEMA = (
    *(b"must be unique", b"No slug can be derived", b"Enter a time in the future", b"Enter a time within"),
    *(b"Enter an ISO 8601 time", b"The key has expired"),
)

_numbers = itertools.count()


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Set a new idempotency key and new key halves in most valid requests: used ones would be rejected."""
    del context, kwargs
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    idempotency_key, number = case.headers.get("Idempotency-Key"), next(_numbers)
    if number % 4 and isinstance(idempotency_key, str):
        case.headers["Idempotency-Key"] = f"{idempotency_key[:200]}{number}"
    if isinstance(case.body, dict):
        halves = [name for name in ("public", "secret") if _is_half_of_a_key(case.body.get(name))]
        case.body = {**case.body, **{name: secrets.token_hex(16) for name in halves}}


def _is_half_of_a_key(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-f0-9]{32}", value) is not None


@schemathesis.hook
def filter_failure(context: schemathesis.HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    """Drop rejections for reasons that no schema can express, and forms that are not an object."""
    del context
    match failure:
        case RejectedPositiveData():
            is_expected = any(text in response.content for text in _NOT_IN_A_SCHEMA)
            return not (is_expected or response.status_code in _REUSED)
        case AcceptedNegativeData():  # any form consists of text fields or is empty
            return case.media_type == "application/json" or isinstance(case.body, dict)
        case _:
            return True
