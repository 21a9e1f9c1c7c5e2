"""The checks of a request, whose order decides which error a client receives, and the call of its handler."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from aiohttp import web

from service.domain.errors import MovedError, NotFoundError, TokenInvalidError
from service.domain.model import Principal, Project
from service.http.context import RequestContext
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
from service.http.server.state import PATH_VARIABLES, PRINCIPAL, ServerState
from service.usecases.use_cases import UseCases

Handler = Callable[[RequestContext], Awaitable[Response]]

Scopes = Mapping[str, tuple[str, ...]]
"""By method: the scopes, any one of which permits it."""

PROJECT_PATH: Final = "/api/0/projects/{organization}/{project}"
"""The start of the paths of a project."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""The format of ids, slugs and public keys in paths; other names are not looked up, as Postgres rejects some."""

_ORGANIZATION_TOKEN: Final = "sntrys_"  # noqa: S105 -- the prefix of a kind of token that this service does not issue

_SCHEME_AND_TOKEN: Final = 2


class Dispatcher:
    """The checks of the requests of one resource, and the call of the handler of the method.

    Args:
        path: The path of the resource, with variables.
        handlers: The handler of each method.
        scopes: The scopes that permit each method.
        allow: The methods, for the header Allow.
        server: The state of the server.
        use_cases: The use cases.
        key_serializer: The serializer of keys in responses.
    """

    def __init__(
        self,
        path: str,
        handlers: Mapping[str, Handler],
        scopes: Scopes,
        allow: str,
        *,
        server: ServerState,
        use_cases: UseCases,
        key_serializer: KeySerializer,
    ) -> None:
        self._server = server
        self._use_cases = use_cases
        self._key_serializer = key_serializer
        self._scopes = scopes
        self._allow = allow
        self._handlers = {"HEAD": handlers["GET"], **handlers} if "GET" in handlers else dict(handlers)
        self._is_in_project = path.startswith(PROJECT_PATH)

    async def dispatch(self, request: web.Request) -> Response:
        """Return the response to ``request``.

        Raises:
            HttpError: The request is rejected.
            ProjectKeyError: The handler failed.
        """
        method, names = request.method, request[PATH_VARIABLES]
        if method == "OPTIONS":
            return empty_response(status=200, allow=self._allow)
        token = bearer_token(request)
        principal = self._use_cases.tokens.cached(token) or await self._authenticate(token)
        request[PRINCIPAL] = principal
        if principal.rate_limit is not None:
            self._server.rate_limiter.count(principal)
        handler = self._permitted_handler(principal, method)
        _check_names(principal, names)
        project: Project | None = None
        if self._is_in_project:
            project = self._use_cases.projects.cache.get((names["organization"], names["project"]))
            project = project or await self._find_project(request, names)
        if method == "DELETE":  # for POST and PUT, `read_body` checks it
            check_acceptable(request)
        response = await handler(
            RequestContext(
                request,
                self._server,
                self._use_cases,
                self._key_serializer,
                principal,
                self._allow,
                names,
                project,
            )
        )
        if method in {"GET", "HEAD"}:  # 404 takes precedence over 406
            check_acceptable(request)
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

    def _permitted_handler(self, principal: Principal, method: str) -> Handler:
        """Return the handler of ``method``.

        Raises:
            HttpError: 403, the token has none of the scopes that permit the method; 405, there is no such method.
        """
        needed = self._scopes.get(method)
        if needed is not None and principal.scopes.isdisjoint(needed):
            raise insufficient_scope(needed)
        handler = self._handlers.get(method)
        if handler is None:
            raise method_not_allowed(method)
        return handler

    async def _find_project(self, request: web.Request, names: Mapping[str, str]) -> Project:
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


def bearer_token(request: web.Request) -> str:
    """Return the token that a request carries.

    Raises:
        HttpError: 401; there are no credentials, or they are malformed.
    """
    parts = request.headers.get("Authorization", "").split()
    if not parts or parts[0].lower() != "bearer":
        raise unauthenticated(NO_CREDENTIALS)
    if len(parts) == 1:
        raise unauthenticated("Invalid token header. No credentials provided.")
    if len(parts) > _SCHEME_AND_TOKEN:
        raise unauthenticated("Invalid token header. Token string should not contain spaces.")
    return parts[1]


def _check_names(principal: Principal, names: Mapping[str, str]) -> None:
    """Check the variables of the path.

    Raises:
        HttpError: 403; the token is bound to another organization. It does not depend on whether this one exists.
        NotFoundError: A name contains invalid characters.
    """
    if principal.organization_id is not None and "organization" in names:
        allowed = {principal.organization_slug, str(principal.organization_id)}
        if names["organization"] not in allowed:
            raise HttpError(403, NO_PERMISSION)
    if not all(map(_NAME.fullmatch, names.values())):
        raise NotFoundError("an id, slug or public key in the path contains invalid characters")


def _renamed(request: web.Request, slug: str) -> str:
    """Return the path and query of ``request`` with ``slug`` as the name of the project."""
    url = request.rel_url
    parts = url.raw_path.split("/")
    parts[PROJECT_PATH.split("/").index("{project}")] = slug
    return "/".join(parts) + (f"?{url.raw_query_string}" if url.raw_query_string else "")
