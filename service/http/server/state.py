"""The state that connections and handlers of one server share, and the keys of values stored in requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, cast
from urllib.parse import urlsplit

from aiohttp import web

from service.domain.model import Principal
from service.http.server.admission import AdmissionControl, Deadlines
from service.http.server.arriving_bodies import ArrivingBodies
from service.http.server.new_connections import NewConnections
from service.http.server.rate_limit import RateLimiter
from service.http.server.unsent_responses import UnsentResponses
from service.metrics import RequestMetrics


@dataclass(slots=True)
class ServerState:
    """The limits of a server and their current use.

    Args:
        admission: The requests in progress.
        arriving: The request bodies that have not arrived.
        unsent: The responses that clients have not read.
        new_connections: The connections without a complete request head.
        rate_limiter: The requests of each token.
        deadlines: The deadline of each request.
        metrics: The metrics of requests.
        body_timeout: Seconds in which a request body must arrive.
        body_limit: Bytes of a request body.
        header_limit: Bytes of a request header and of the URL.
        links_base: The base URL of the links in responses, without a trailing slash.
        console_origin: The origin of the console, if PUBLIC_URL determines it; "" means that of the header Host, and
            None that there is no console.
        draining: True while the process is about to stop; each response then closes its connection.
    """

    admission: AdmissionControl
    arriving: ArrivingBodies
    unsent: UnsentResponses
    new_connections: NewConnections
    rate_limiter: RateLimiter
    deadlines: Deadlines
    metrics: RequestMetrics
    body_timeout: float
    body_limit: int
    header_limit: int
    links_base: str
    console_origin: str | None = None
    draining: bool = False

    @property
    def path_prefix(self) -> str:
        """The path of `links_base`, which a proxy removes from the paths of requests; "" without such a proxy."""
        return urlsplit(self.links_base).path


class Connection(Protocol):
    """A connection of the server."""

    server_state: ServerState


def state_of(request: web.BaseRequest) -> ServerState:
    """Return the state of the server that receives ``request``."""
    return cast("Connection", request.protocol).server_state


class Request(web.Request):
    """A request, and what the steps of its handling have set: attributes, which cost less than aiohttp's keys.

    Attributes:
        path_variables: The variables of the path; set by `Routes`.
        request_id: The id of the request; set by `Middleware`.
        principal: The principal of the token; None before authentication and on paths without it.
    """

    path_variables: Mapping[str, str]
    request_id: str
    principal: Principal | None = None
