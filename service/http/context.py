"""What handlers receive."""

import re
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from service.domain.model import Origin, Principal, Project
from service.http.serializers import KeySerializer
from service.http.server.state import REQUEST_ID, ServerState
from service.usecases.use_cases import UseCases

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""The W3C trace context; a malformed one is ignored."""


@dataclass(slots=True)  # not frozen: each request creates one, and freezing would double its cost
class RequestContext:
    """An authorized request.

    Args:
        request: The request.
        server: The state of the server.
        use_cases: The use cases.
        key_serializer: Serializes keys.
        principal: Whose token the request carries.
        allow: The methods of the resource, for the header Allow.
        found_project: The project in the path; None if the path has none.
    """

    request: web.Request
    server: ServerState
    use_cases: UseCases
    key_serializer: KeySerializer
    principal: Principal
    allow: str
    found_project: Project | None

    @property
    def project(self) -> Project:
        """The project in the path."""
        assert self.found_project is not None, "the path of the route contains a project"
        return self.found_project

    @property
    def organization_name(self) -> str:
        """The id or slug of the organization in the path."""
        return self.request.match_info["organization"]

    @property
    def key_id(self) -> str:
        """The public key in the path."""
        return self.request.match_info["key_id"]

    @property
    def origin(self) -> Origin:
        """What audit entries and events record of this request."""
        traceparent = self.request.headers.get("traceparent")
        if traceparent and not _TRACEPARENT.fullmatch(traceparent):
            traceparent = None
        return Origin(
            token_id=self.principal.token_id,
            request_id=self.request[REQUEST_ID],
            remote_address=self.request.remote,
            traceparent=traceparent or None,
        )
