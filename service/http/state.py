"""What the application holds for its handlers."""

import random
import re
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from service.contract.asyncapi import Topic
from service.domain.model import Origin, Principal, Project
from service.http.serializers import KeySerializer
from service.http.server.admission import AdmissionControl
from service.http.server.arriving_bodies import ArrivingBodies
from service.http.server.deadlines import Deadlines
from service.http.server.new_connections import NewConnections
from service.http.server.rate_limit import RateLimiter
from service.http.server.unsent_responses import UnsentResponses
from service.metrics import RequestMetrics
from service.usecases.acknowledgements import Acknowledgements
from service.usecases.audit import Audit
from service.usecases.change_keys import DeleteKey, UpdateKey
from service.usecases.create_key import CreateKey
from service.usecases.organizations import Organizations
from service.usecases.projects import Projects
from service.usecases.read_keys import ReadKeys
from service.usecases.tokens import Tokens


@dataclass(slots=True)
class Api:
    """The use cases and the few settings that answers depend on.

    ``draining`` turns true when the process is about to stop: answers then ask for the connection's end.
    """

    tokens: Tokens
    organizations: Organizations
    projects: Projects
    create_key: CreateKey
    update_key: UpdateKey
    delete_key: DeleteKey
    read_keys: ReadKeys
    acknowledgements: Acknowledgements
    audit: Audit
    key_serializer: KeySerializer
    topic: Topic
    links_base: str
    body_timeout: float
    body_limit: int
    admission: AdmissionControl
    arriving: ArrivingBodies
    unsent: UnsentResponses
    new_connections: NewConnections
    rate_limiter: RateLimiter
    metrics: RequestMetrics
    deadlines: Deadlines
    draining: bool = False


_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

API: Final = web.AppKey("api", Api)

REQUEST_ID: Final = web.RequestKey("request_id", str)


def new_request_id() -> str:
    """An id unlike any other, and nothing else: the kernel need not be asked for every request."""
    return f"{random.getrandbits(128):032x}"


PRINCIPAL: Final = web.RequestKey("caller", Principal)
"""Whose request it is; absent while nobody knows."""

FAULT: Final = web.RequestKey("fault", str)
"""Why a request was answered with 503: for the log, never for the caller."""


@dataclass(slots=True)  # not frozen: each request makes one, and freezing would take as long again
class RequestContext:
    """A request whose caller may make it; ``project`` is there where the path names one."""

    request: web.Request
    api: Api
    caller: Principal
    allow: str
    found_project: Project | None

    @property
    def project(self) -> Project:
        """The project that the path names."""
        assert self.found_project is not None, "the route has a project in its path"
        return self.found_project

    @property
    def organization_name(self) -> str:
        """The id or slug of the organization that the path names."""
        return self.request.match_info["organization"]

    @property
    def key_id(self) -> str:
        """The public key that the path names."""
        return self.request.match_info["key_id"]

    @property
    def origin(self) -> Origin:
        """What the audit and the event's envelope keep of this request."""
        return Origin(
            token_id=self.caller.token_id,
            request_id=self.request[REQUEST_ID],
            remote_address=self.request.remote,
            traceparent=_traceparent(self.request),
        )


def _traceparent(request: web.Request) -> str | None:
    """The W3C trace context, if it is one; anything else would only travel along."""
    value = request.headers.get("traceparent", "")
    return value if _TRACEPARENT.fullmatch(value) else None
