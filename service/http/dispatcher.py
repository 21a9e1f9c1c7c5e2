"""Requests as handlers receive them, and the checks before: their order decides which error a client receives."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from service.domain.errors import MovedError, NotFoundError, TokenInvalidError
from service.domain.idempotency import IdempotencyKey
from service.domain.model import Origin, Principal, Project
from service.http.console_session import session_of, token_in_body
from service.http.errors import (
    NO_CREDENTIALS,
    NO_PERMISSION,
    HttpError,
    insufficient_scope,
    method_not_allowed,
    redirect,
    unauthenticated,
)
from service.http.request import check_acceptable
from service.http.serializers import KeySerializer
from service.http.server.response import Response, empty_response
from service.http.server.state import Request, ServerState
from service.json_text import dump_json
from service.usecases.use_cases import UseCases

Scopes = Mapping[str, tuple[str, ...]]
"""By method: the scopes, any one of which permits it."""

PROJECT_PATH: Final = "/api/0/projects/{organization}/{project}"
"""The start of the paths of a project."""

_SCHEME_AND_TOKEN: Final = 2
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The format of ids, slugs and public keys in paths; other names are not looked up, as Postgres rejects some."""

_ORGANIZATION_TOKEN: Final = "sntrys_"  # noqa: S105 -- the prefix of a kind of token that this service does not issue

_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""The format of a W3C trace context; any other value is ignored."""

_IDEMPOTENCY_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(slots=True)  # not frozen: each request creates one, and a frozen one takes twice as long
class RequestContext:
    """An authorized request with what its handler needs.

    Args:
        request: The request.
        server: The state of the server.
        use_cases: The use cases.
        key_serializer: The serializer of keys in responses.
        principal: The principal of the token.
        names: The variables of the path.
        project: The project in the path; it is not set if the path has none.
    """

    request: Request
    server: ServerState
    use_cases: UseCases
    key_serializer: KeySerializer
    principal: Principal
    names: Mapping[str, str]
    project: Project = field(init=False)

    @property
    def organization_name(self) -> str:
        """The id or slug of the organization in the path."""
        return self.names["organization"]

    @property
    def key_id(self) -> str:
        """The public key in the path."""
        return self.names["key_id"]

    @property
    def key_name(self) -> str:
        """The name of a key in the path, decoded; bytes that are not UTF-8 become surrogates, which no name has."""
        return unquote(self.request.rel_url.raw_path.split("/")[-2], errors="surrogateescape")

    @property
    def origin(self) -> Origin:
        """The origin that audit entries and events record."""
        traceparent = self.request.headers.get("traceparent", "")
        return Origin(
            token_id=self.principal.token_id,
            request_id=self.request.request_id,
            remote_address=self.request.remote,
            traceparent=traceparent if _TRACEPARENT.fullmatch(traceparent) else None,
        )

    def idempotency_key(self, body: Any) -> IdempotencyKey | None:
        """Return the ``Idempotency-Key`` of the request, with or without quotes; None if it is absent.

        Raises:
            HttpError: 400 if the header is malformed or repeated.
        """
        values = self.request.headers.getall("Idempotency-Key", [])
        if not values:
            return None
        text = values[0].strip()
        if len(text) > 1 and text[0] == text[-1] == '"':
            text = text[1:-1]
        if len(values) > 1 or not _IDEMPOTENCY_KEY.fullmatch(text):
            raise HttpError(400, "The Idempotency-Key must be 1 to 255 visible ASCII characters.")
        return IdempotencyKey(self.principal.token_id, text, self._fingerprint(body))

    def _fingerprint(self, body: Any) -> bytes:
        head = f"{self.request.method} {self.request.path}\n".encode(errors="surrogatepass")
        return hashlib.sha256(head + dump_json(body, sort_keys=True)).digest()


Handler = Callable[[RequestContext], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Resource:
    """A path with variables, the handler of each method and the scopes that permit each method.

    ``signs_in`` says whether the body of POST contains the token.
    """

    path: str
    methods: Mapping[str, Handler]
    scopes: Scopes
    signs_in: bool = False


class Dispatcher:
    """The checks of the requests of one resource, and the call of the handler of the method.

    Args:
        resource: The resource.
        server: The state of the server.
        use_cases: The use cases.
        key_serializer: The serializer of keys in responses.
    """

    def __init__(
        self, resource: Resource, server: ServerState, use_cases: UseCases, key_serializer: KeySerializer
    ) -> None:
        self._resource = resource
        self._server = server
        self._use_cases = use_cases
        self._key_serializer = key_serializer
        self._is_in_project = resource.path.startswith(PROJECT_PATH)

    async def dispatch(self, request: Request) -> Response:
        """Return the response to ``request``.

        Raises:
            HttpError: The request is rejected.
            ProjectKeyError: The handler failed.
        """
        method, names = request.method, request.path_variables
        if method == "OPTIONS":
            return empty_response(status=200)
        token = await token_in_body(request) if self._resource.signs_in and method == "POST" else _credential(request)
        principal = self._use_cases.tokens.cached(token) or await self._authenticate(token)
        request.principal = principal
        if principal.rate_limit is not None:
            self._server.rate_limiter.count(principal)
        handler = self._permitted_handler(principal, method, names)
        context = RequestContext(request, self._server, self._use_cases, self._key_serializer, principal, names)
        if self._is_in_project:
            project = self._use_cases.projects.cache.get((names["organization"], names["project"]))
            context.project = project or await self._find_project(request, names)
        if method == "DELETE":  # for POST and PUT, `read_body` checks it
            check_acceptable(request)
        response = await handler(context)
        if method in {"GET", "HEAD"}:  # 404 takes precedence over 406
            check_acceptable(request, response.media_type)
        return response

    async def _authenticate(self, token: str) -> Principal:
        """Return the principal of ``token``.

        Raises:
            TokenInvalidError: There is no such token.
            HttpError: 401; there is no such token, and its prefix is that of Sentry's organization tokens.
            TokenExpiredError: The token has expired.
        """
        try:
            return await self._use_cases.tokens.authenticate(token)
        except TokenInvalidError:
            if token.startswith(_ORGANIZATION_TOKEN):
                raise unauthenticated("Invalid org token") from None
            raise

    def _permitted_handler(self, principal: Principal, method: str, names: Mapping[str, str]) -> Handler:
        """Return the handler of ``method`` if the principal may use it for what the path names.

        Raises:
            HttpError: 403, the token has none of the scopes that permit the method, or it is bound to another
                organization, which may exist or not; 405, there is no such method.
            NotFoundError: A name contains invalid characters.
        """
        needed = self._resource.scopes.get(method)
        if needed is not None and principal.scopes.isdisjoint(needed):
            raise insufficient_scope(needed)
        handler = self._resource.methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            raise method_not_allowed(method)
        if principal.organization_id is not None and "organization" in names:
            allowed = {principal.organization_slug, str(principal.organization_id)}
            if names["organization"] not in allowed:
                raise HttpError(403, NO_PERMISSION)
        if "key_name" in names:  # any text: the handler validates it
            names = {name: value for name, value in names.items() if name != "key_name"}
        if not all(map(NAME.fullmatch, names.values())):
            raise NotFoundError("an id, slug or public key in the path contains invalid characters")
        return handler

    async def _find_project(self, request: Request, names: Mapping[str, str]) -> Project:
        """Return the project in the path.

        Raises:
            NotFoundError: There is no such project.
            HttpError: A redirect; the project has another slug now.
        """
        try:
            return await self._use_cases.projects.get(names["organization"], names["project"])
        except MovedError as error:
            path = self._server.path_prefix + _renamed(request, error.slug)
            raise redirect(request.method, path, error.slug) from None


def _credential(request: Request) -> str:
    """Return what `Tokens` authenticates: the token of a request, or else the session of the console.

    A request with the header Authorization never uses the cookie.

    Raises:
        HttpError: 401; there are no credentials, or they are malformed.
    """
    authorization = request.headers.get("Authorization")
    if authorization is None and (session := session_of(request)):
        return session
    parts = (authorization or "").split()
    if not parts or parts[0].lower() != "bearer":
        raise unauthenticated(NO_CREDENTIALS)
    if len(parts) == 1:
        raise unauthenticated("Invalid token header. No credentials provided.")
    if len(parts) > _SCHEME_AND_TOKEN:
        raise unauthenticated("Invalid token header. Token string should not contain spaces.")
    return parts[1]


def _renamed(request: Request, slug: str) -> str:
    """Return the path and query of ``request`` with ``slug`` as the name of the project."""
    url = request.rel_url
    parts = url.raw_path.split("/")
    parts[PROJECT_PATH.split("/").index("{project}")] = slug
    return "/".join(parts) + (f"?{url.raw_query_string}" if url.raw_query_string else "")
