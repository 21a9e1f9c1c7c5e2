"""Tokens: making them, telling whose a presented one is, ending them."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from service.domain.errors import NotFoundError, TokenExpiredError, TokenInvalidError
from service.domain.model import Caller
from service.domain.scopes import expand
from service.postgres.database import Connection, Database
from service.postgres.organizations import select_organization
from service.postgres.tokens import TokenRow, insert_token, revoke_token, select_all, select_by_hash
from service.usecases.recent import Recent

PREFIX: Final = "sntryu_"
"""Begins every token, so that scanners of leaked secrets know one."""

_KEPT_SECONDS: Final = 5.0
"""How long a token that was found stays good unasked, and so how long a revoked one can live."""

_KEPT_MOST: Final = 10_000


class Tokens:
    """The tokens of the installation; ``clock`` tells the time."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._clock = clock
        self._recent = Recent[bytes, tuple[Caller, datetime | None]](seconds=_KEPT_SECONDS, most=_KEPT_MOST)

    async def caller(self, token: str) -> Caller:
        """Whom ``token`` speaks for.

        Raises:
            TokenInvalidError: there is no such token, or it was revoked.
            TokenExpiredError: its time is over.
            UnavailableError: the database cannot be reached.
        """
        token_hash = _hash(token)
        found = self._recent.get(token_hash)
        if found is None:
            found = await self._find(token_hash)
            self._recent.put(token_hash, found)
        caller, expires_at = found
        if expires_at is not None and expires_at <= self._clock():
            raise TokenExpiredError
        return caller

    async def _find(self, token_hash: bytes) -> tuple[Caller, datetime | None]:
        async with self._database.connection() as connection:
            found = await select_by_hash(connection, token_hash)
        if found is None or not hmac.compare_digest(found[0], token_hash) or found[1].revoked_at is not None:
            raise TokenInvalidError
        row = found[1]
        caller = Caller(
            token_id=row.id,
            organization_id=row.organization_id,
            organization_slug=row.organization_slug,
            scopes=expand(row.scopes),
        )
        return caller, row.expires_at

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[str],
        organization: str | None = None,
        expires_at: datetime | None = None,
    ) -> str:
        """A new token, which is kept nowhere: this is the one time that it is told.

        Args:
            name: what people call it.
            scopes: what it may do.
            organization: id or slug of the only one it may see; None is all of them.
            expires_at: when it ends; None is never.

        Raises:
            NotFoundError: there is no such organization.
            ValueError: one of the scopes does not exist.
        """
        expand(scopes)
        token = PREFIX + secrets.token_hex(32)
        async with self._database.transaction() as connection:
            await insert_token(
                connection,
                organization_id=await _organization_id(connection, organization),
                name=name,
                token_hash=_hash(token),
                last_four=token[-4:],
                scopes=scopes,
                expires_at=expires_at,
            )
        return token

    async def list(self) -> list[TokenRow]:
        """Every token, oldest first."""
        async with self._database.connection() as connection:
            return await select_all(connection)

    async def revoke(self, token_id: int) -> str:
        """End a token, on every replica within the seconds that a found one stays good; returns its name.

        Raises:
            NotFoundError: there is none with this id that has not ended.
        """
        async with self._database.connection() as connection:
            name = await revoke_token(connection, token_id)
        if name is None:
            raise NotFoundError(f"there is no token {token_id} that could be revoked")
        return name


async def _organization_id(connection: Connection, organization: str | None) -> int | None:
    if organization is None:
        return None
    found = await select_organization(connection, organization)
    if found is None:
        raise NotFoundError(f"there is no organization {organization}")
    return found.id


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
