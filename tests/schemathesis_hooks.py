"""What schemathesis loads into its own process: requests that are not all the same, and findings that are none."""

import itertools
import re
import secrets
from typing import Any

import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.openapi.checks import RejectedPositiveData

_USED_BEFORE = {410, 422}
"""The Idempotency-Key is another request's, or what that made is deleted."""
_BEYOND_A_SCHEMA = (b"must be unique", b"makes no slug")

_numbers = itertools.count()


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Give most good requests a new idempotency key and new halves of keys: used ones would be refused."""
    del context, kwargs
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    given, number = case.headers.get("Idempotency-Key"), next(_numbers)
    if number % 4 and isinstance(given, str):
        case.headers["Idempotency-Key"] = f"{given[:200]}{number}"
    if isinstance(case.body, dict):
        halves = [name for name in ("public", "secret") if _is_half_of_a_key(case.body.get(name))]
        case.body = {**case.body, **{name: secrets.token_hex(16) for name in halves}}


def _is_half_of_a_key(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-f0-9]{32}", value) is not None


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Failure, case: Case[Any], response: Response
) -> bool:
    """Drop refusals for what no schema can tell, as what is stored, and forms that are no object."""
    del context
    match failure:
        case RejectedPositiveData():
            untold = any(words in response.content for words in _BEYOND_A_SCHEMA)
            return not (untold or response.status_code in _USED_BEFORE)
        case AcceptedNegativeData():  # whatever a form holds are fields with texts; what has none is empty
            return case.media_type == "application/json" or isinstance(case.body, dict)
        case _:
            return True
