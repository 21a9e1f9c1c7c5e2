"""The argument of the handlers: a request that is authenticated and authorized."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from service.domain.model import Origin, Principal, Project
from service.http.serializers import KeySerializer
from service.http.server.state import REQUEST_ID, ServerState
from service.usecases.use_cases import UseCases

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""The format of a W3C trace context; any other value is ignored."""


@dataclass(slots=True)  # not frozen: each request creates one, and a frozen one takes twice as long
class RequestContext:
    """An authorized request with what its handler needs.

    Args:
        request: The request.
        server: The state of the server.
        use_cases: The use cases.
        key_serializer: The serializer of keys in responses.
        principal: The principal of the token.
        allow: The methods of the resource, for the header Allow.
        names: The variables of the path.
        found_project: The project in the path; None if the path has none.
    """

    request: web.Request
    server: ServerState
    use_cases: UseCases
    key_serializer: KeySerializer
    principal: Principal
    allow: str
    names: Mapping[str, str]
    found_project: Project | None

    @property
    def project(self) -> Project:
        """The project in the path."""
        assert self.found_project is not None, "the path of the route contains a project"
        return self.found_project

    @property
    def organization_name(self) -> str:
        """The id or slug of the organization in the path."""
        return self.names["organization"]

    @property
    def key_id(self) -> str:
        """The public key in the path."""
        return self.names["key_id"]

    @property
    def origin(self) -> Origin:
        """The origin that audit entries and events record."""
        traceparent = self.request.headers.get("traceparent", "")
        return Origin(
            token_id=self.principal.token_id,
            request_id=self.request[REQUEST_ID],
            remote_address=self.request.remote,
            traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else None,
        )
