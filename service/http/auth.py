"""Who calls, and whether they may."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from service.domain.errors import TokenInvalidError
from service.domain.model import Principal
from service.http.errors import NO_CREDENTIALS, NO_PERMISSION, HttpError, insufficient_scope, unauthenticated
from service.usecases.tokens import Tokens

_ORGANIZATION_TOKEN: Final = "sntrys_"  # noqa: S105 -- the prefix of a kind of token, none of which exists here

_SCHEME_AND_TOKEN: Final = 2

Scopes = Mapping[str, tuple[str, ...]]
"""By method: the scopes any one of which will do."""

_READ: Final = ("read", "write", "admin")
_WRITE: Final = ("write", "admin")


def scopes_of(noun: str) -> Scopes:
    """What the methods of a resource need that belongs to ``noun``."""
    read = tuple(f"{noun}:{level}" for level in _READ)
    write = tuple(f"{noun}:{level}" for level in _WRITE)
    return {"GET": read, "HEAD": read, "POST": write, "PUT": write, "DELETE": (f"{noun}:admin",)}


def bearer_token(request: web.Request) -> str:
    """The token that a request carries.

    Raises:
        Refusal: 401; no credentials, or none that can be read.
    """
    parts = request.headers.get("Authorization", "").split()
    if not parts or parts[0].lower() != "bearer":
        raise unauthenticated(NO_CREDENTIALS)
    if len(parts) == 1:
        raise unauthenticated("Invalid token header. No credentials provided.")
    if len(parts) > _SCHEME_AND_TOKEN:
        raise unauthenticated("Invalid token header. Token string should not contain spaces.")
    return parts[1]


async def authenticate(tokens: Tokens, token: str, address: str | None) -> Principal:
    """Whom ``token``, presented by a client at ``address``, speaks for.

    Raises:
        TokenInvalidError: there is no such token.
        TooManyUnknownTokensError: too many unknown tokens came from this address in this second.
        Refusal: 401; the same in other words, for a kind of token that does not exist here.
        TokenExpiredError: its time is over.
    """
    try:
        return await tokens.authenticate(token, address=address)
    except TokenInvalidError:
        if token.startswith(_ORGANIZATION_TOKEN):
            raise unauthenticated("Invalid org token") from None
        raise


def permit_method(caller: Principal, method: str, scopes: Scopes) -> None:
    """Let the caller use ``method``.

    Raises:
        Refusal: 403; the token has none of the scopes that would do.
    """
    needed = scopes.get(method)
    if needed is not None and caller.scopes.isdisjoint(needed):
        raise insufficient_scope(needed)


def permit_organization(caller: Principal, id_or_slug: str) -> None:
    """Let the caller into an organization.

    Raises:
        Refusal: 403; the token is another organization's. The same whether or not this one exists.
    """
    if caller.organization_id is None:
        return
    if id_or_slug not in {caller.organization_slug, str(caller.organization_id)}:
        raise HttpError(403, NO_PERMISSION)
