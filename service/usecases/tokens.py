"""Tokens: making them, telling whose a presented one is, ending them."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final
from uuid import uuid4

from service.concurrency.batcher import Batcher
from service.concurrency.ttl_cache import TtlCache
from service.domain.audit import Action
from service.domain.errors import NotFoundError, TokenExpiredError, TokenInvalidError
from service.domain.events import time_to_json
from service.domain.model import Origin, Principal
from service.domain.scopes import expand
from service.domain.tokens import new_token, weakness
from service.postgres.audit import insert_audit_entry
from service.postgres.database import Connection, Database
from service.postgres.organizations import select_organization
from service.postgres.tokens import TokenRow, insert_token, revoke_token, select_all, select_by_hashes
from service.usecases.failed_lookups import FailedLookups
from service.usecases.token_usage import TokenUsage

_KEPT_SECONDS: Final = 5.0
"""Seconds for which the result of a look-up is cached: a revoked token can be valid for that long, and a token that
was presented before it was created is refused for that long."""

_KEPT_MOST: Final = 10_000
"""Entries of each cache."""

_VALID_BEFORE_SECONDS: Final = 3600.0
"""Seconds after its last look-up for which a token's next one does not wait behind those of unknown tokens."""

_FAILED_LOOKUPS: Final = 100
"""Failed look-ups per second and client address. Behind a proxy all clients share one address, and clients with
outdated tokens must not use the limit up: the negative cache makes that 500 different tokens at a time."""

_ADDRESSES: Final = 10_000

_LOOKUP_FLIGHTS: Final = 2
_FIRST_LOOKUP_FLIGHTS: Final = 1
"""Connections to Postgres that look-ups of tokens not seen before can use at a time."""

_MOST: Final = 64
_WAITING: Final = 2048
"""Look-ups of each kind that can wait; further ones get 503."""

_COMMAND_LINE: Final = Origin(token_id=None, request_id="cli")


class Tokens:
    """The tokens of the installation; ``clock`` tells the time."""

    def __init__(
        self, database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._database = database
        self._clock = clock
        self.uses = TokenUsage(database, clock=clock)
        self._recent = TtlCache[bytes, tuple[Principal, datetime | None]](
            seconds=_KEPT_SECONDS, most=_KEPT_MOST
        )
        # Apart from the valid ones: however many unknown tokens arrive, they evict no valid one.
        self._unknown = TtlCache[bytes, bool](seconds=_KEPT_SECONDS, most=_KEPT_MOST)
        self._valid_before = TtlCache[bytes, bool](seconds=_VALID_BEFORE_SECONDS, most=_KEPT_MOST)
        self._failed = FailedLookups(limit=_FAILED_LOOKUPS, addresses=_ADDRESSES)
        self._lookups = Batcher[bytes, TokenRow](
            self._look_up, flights=_LOOKUP_FLIGHTS, most=_MOST, waiting=_WAITING
        )
        self._first_lookups = Batcher[bytes, TokenRow](
            self._look_up, flights=_FIRST_LOOKUP_FLIGHTS, most=_MOST, waiting=_WAITING
        )

    def known(self, token: str) -> Principal | None:
        """Whom ``token`` speaks for, if that was found lately; None is to be asked of `caller`.

        Raises:
            TokenExpiredError: its time is over.
        """
        found = self._recent.get(_hash(token))
        return None if found is None else self._in_time(*found)

    async def caller(self, token: str, *, address: str | None = None) -> Principal:
        """Whom ``token`` speaks for.

        Args:
            token: the token.
            address: the client's, whose failed look-ups are limited; None is no limit.

        Raises:
            TokenInvalidError: there is no such token, or it was revoked.
            TokenExpiredError: its time is over.
            TooManyUnknownTokensError: the token is not cached, and ``address`` has reached its limit.
            BusyError: too many lookups are waiting.
            UnavailableError: the database cannot be reached.
        """
        return self.known(token) or self._in_time(*await self._find(_hash(token), address))

    def _in_time(self, caller: Principal, expires_at: datetime | None) -> Principal:
        if expires_at is not None and expires_at <= self._clock():
            raise TokenExpiredError
        return caller

    async def _find(self, token_hash: bytes, address: str | None) -> tuple[Principal, datetime | None]:
        row = await self._row(token_hash, address)
        self._valid_before.put(token_hash, value=True)
        if row.expires_at is None or row.expires_at > self._clock():
            self.uses.note(row)
        caller = Principal(
            token_id=row.id,
            organization_id=row.organization_id,
            organization_slug=row.organization_slug,
            scopes=expand(row.scopes),
            rate_limit=row.rate_limit,
        )
        self._recent.put(token_hash, (caller, row.expires_at))
        return caller, row.expires_at

    async def _row(self, token_hash: bytes, address: str | None) -> TokenRow:
        if self._unknown.get(token_hash):
            raise TokenInvalidError
        lookups = self._lookups
        if not self._valid_before.get(token_hash):
            self._failed.check(address)
            lookups = self._first_lookups
        try:
            return await lookups.submit(token_hash)
        except TokenInvalidError:
            self._unknown.put(token_hash, value=True)
            self._failed.count(address)
            raise

    async def _look_up(self, hashes: Sequence[bytes]) -> Sequence[TokenRow | Exception]:
        async with self._database.connection() as connection:
            found = await select_by_hashes(connection, hashes)
        return [_good(found, token_hash) or TokenInvalidError() for token_hash in hashes]

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[str],
        organization: str | None = None,
        expires_at: datetime | None = None,
        rate_limit: int | None = None,
        token: str | None = None,
        origin: Origin = _COMMAND_LINE,
    ) -> str:
        """A new token, which is kept nowhere: this is the one time that it is told.

        Args:
            name: what people call it.
            scopes: what it may do.
            organization: id or slug of the only one it may see; None is all of them.
            expires_at: when it ends; None is never.
            rate_limit: requests a second, of each process; None is no limit.
            token: one that somebody brings along; None makes a random one.
            origin: who has it made.

        Raises:
            NotFoundError: there is no such organization.
            TakenError: there is this very token, good or ended.
            ValueError: one of the scopes does not exist, or ``token`` is too weak.
        """
        expand(scopes)
        text = new_token() if token is None else _strong(token)
        async with self._database.transaction() as connection:
            organization_id = await _organization_id(connection, organization)
            token_id = await insert_token(
                connection,
                organization_id=organization_id,
                name=name,
                token_hash=_hash(text),
                last_four=text[-4:],
                scopes=scopes,
                expires_at=expires_at,
                rate_limit=rate_limit,
            )
            data = {
                "tokenId": token_id,
                "scopes": list(scopes),
                "rateLimit": rate_limit,
                "expiresAt": expires_at and time_to_json(expires_at),
            }
            await _record(connection, "token.create", organization_id, name, data, origin)
        return text

    async def list(self) -> list[TokenRow]:
        """Every token, oldest first."""
        async with self._database.connection() as connection:
            return await select_all(connection)

    async def revoke(self, token_id: int, origin: Origin = _COMMAND_LINE) -> str:
        """End a token, on every replica within the seconds that a found one stays good; returns its name.

        Raises:
            NotFoundError: there is none with this id that has not ended.
        """
        async with self._database.transaction() as connection:
            revoked = await revoke_token(connection, token_id)
            if revoked is None:
                raise NotFoundError(f"there is no token {token_id} that could be revoked")
            name, organization_id = revoked
            await _record(connection, "token.revoke", organization_id, name, {"tokenId": token_id}, origin)
        return name


def _good(found: Sequence[tuple[bytes, TokenRow]], token_hash: bytes) -> TokenRow | None:
    """The token of this hash, unless it was revoked; compared in constant time, whichever it is."""
    rows = [row for stored, row in found if hmac.compare_digest(stored, token_hash)]
    return rows[0] if rows and rows[0].revoked_at is None else None


async def _organization_id(connection: Connection, organization: str | None) -> int | None:
    if organization is None:
        return None
    found = await select_organization(connection, organization)
    if found is None:
        raise NotFoundError(f"there is no organization {organization}")
    return found.id


async def _record(
    connection: Connection,
    action: Action,
    organization_id: int | None,
    name: str,
    data: dict[str, Any],
    origin: Origin,
) -> None:
    await insert_audit_entry(
        connection,
        organization_id=organization_id,
        project_id=None,
        action=action,
        target=name,
        data=data,
        origin=origin,
        change_id=uuid4(),
    )


def _strong(token: str) -> str:
    if problem := weakness(token):
        raise ValueError(f"a token {problem}")
    return token


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
