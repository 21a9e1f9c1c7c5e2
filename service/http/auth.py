"""Authentication by token and authorization by scope and organization."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from service.domain.errors import TokenInvalidError
from service.domain.model import Principal
from service.http.errors import NO_CREDENTIALS, NO_PERMISSION, HttpError, insufficient_scope, unauthenticated
from service.usecases.tokens import Tokens

_ORGANIZATION_TOKEN: Final = "sntrys_"  # noqa: S105 -- the prefix of a kind of token that this service does not issue

_SCHEME_AND_TOKEN: Final = 2

Scopes = Mapping[str, tuple[str, ...]]
"""By method: the scopes, any one of which permits it."""

_READ: Final = ("read", "write", "admin")
_WRITE: Final = ("write", "admin")


def scopes_of(noun: str) -> Scopes:
    """Return the scopes for the methods of a resource; ``noun`` is the first part of their names."""
    read = tuple(f"{noun}:{level}" for level in _READ)
    write = tuple(f"{noun}:{level}" for level in _WRITE)
    return {"GET": read, "HEAD": read, "POST": write, "PUT": write, "DELETE": (f"{noun}:admin",)}


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


async def authenticate(tokens: Tokens, token: str) -> Principal:
    """Return the principal of ``token``.

    Raises:
        TokenInvalidError: There is no such token.
        HttpError: 401; there is no such token, and its prefix is that of Sentry's organization tokens.
        TokenExpiredError: The token has expired.
    """
    try:
        return await tokens.authenticate(token)
    except TokenInvalidError:
        if token.startswith(_ORGANIZATION_TOKEN):
            raise unauthenticated("Invalid org token") from None
        raise


def check_scopes(principal: Principal, method: str, scopes: Scopes) -> None:
    """Check that the principal may use ``method``.

    Raises:
        HttpError: 403; the token has none of the scopes that permit it.
    """
    needed = scopes.get(method)
    if needed is not None and principal.scopes.isdisjoint(needed):
        raise insufficient_scope(needed)


def check_organization(principal: Principal, id_or_slug: str) -> None:
    """Check that the principal may access an organization.

    Raises:
        HttpError: 403; the token is bound to another organization. It does not depend on whether this one exists.
    """
    if principal.organization_id is None:
        return
    if id_or_slug not in {principal.organization_slug, str(principal.organization_id)}:
        raise HttpError(403, NO_PERMISSION)
