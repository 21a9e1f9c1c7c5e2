"""What schemathesis loads into its own process: which of its findings are none."""

import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.schemas import Case

_USED_BEFORE = {410, 422}
"""The Idempotency-Key is another request's, or what that made is deleted."""


@schemathesis.hook
def filter_failure(
    context: schemathesis.HookContext, failure: Failure, case: Case, response: Response
) -> bool:
    """Drop refusals of a good request that come of what is stored: no schema can say what is unique."""
    del context, case
    if not isinstance(failure, RejectedPositiveData):
        return True
    return not (response.status_code in _USED_BEFORE or b"must be unique" in response.content)
