"""Creates, authenticates and revokes API tokens."""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from service.concurrency.batcher import Batcher
from service.concurrency.ttl_cache import TtlCache
from service.domain.audit import AuditRecord
from service.domain.errors import (
    CommandError,
    NotFoundError,
    ProjectKeyError,
    TokenExpiredError,
    TokenInvalidError,
)
from service.domain.events import time_to_json
from service.domain.model import Origin, Principal, utc_now
from service.domain.pagination import Page
from service.domain.scopes import expand
from service.domain.tokens import TokenRow, new_token, violated_rule
from service.postgres.audit import insert_audit_records
from service.postgres.database import Database
from service.postgres.sessions import note_session_use
from service.postgres.tokens import (
    FoundToken,
    insert_token,
    revoke_token,
    select_all,
    select_by_hashes,
    select_page,
)
from service.usecases.tenants import find_organization
from service.usecases.token_usage import TokenUsage

_KEPT_SECONDS: Final = 5.0
"""Seconds for which the result of a look-up is cached: a revoked token can stay valid for that long, and a token that
was presented before it was created can be rejected for that long."""

_KEPT_MOST: Final = 10_000
"""Maximum number of entries of each cache."""

_VALID_BEFORE_SECONDS: Final = 3600.0
"""Seconds after a token's last look-up in which its next one does not wait for those of unknown tokens."""

_SESSION_USE_INTERVAL: Final = timedelta(minutes=1)
"""Minimum time between two recorded uses of a session."""

_LOOKUP_BATCHES: Final = 2
_FIRST_LOOKUP_BATCHES: Final = 1
"""Concurrent connections to Postgres for look-ups: of tokens that were valid before, and of all others. However many
unknown tokens arrive, they keep one connection busy and delay no token that was valid before."""

_LIMITS: Final = {"max_batch_size": 64, "max_queue_size": 2048}
"""Of the look-ups of each kind; if more are waiting, further ones get 503."""

_COMMAND_LINE: Final = Origin(token_id=None, request_id="cli")


Found = tuple[TokenRow, datetime | None]
"""A token, and the last use of the session with whose id it was found."""


class Tokens:
    """The API tokens of the installation; ``clock`` returns the current time."""

    def __init__(self, database: Database, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock
        self.uses = TokenUsage(database, clock=clock)
        self._cache = TtlCache[bytes, tuple[Principal, datetime | None]](seconds=_KEPT_SECONDS, max_size=_KEPT_MOST)
        # Separate from that of valid tokens, so that unknown tokens cannot evict valid ones.
        self._unknown = TtlCache[bytes, bool](seconds=_KEPT_SECONDS, max_size=_KEPT_MOST)
        self._valid_before = TtlCache[bytes, bool](seconds=_VALID_BEFORE_SECONDS, max_size=_KEPT_MOST)
        self._lookups = Batcher[bytes, Found](self._look_up, max_running_batches=_LOOKUP_BATCHES, **_LIMITS)
        self._first_lookups = Batcher[bytes, Found](
            self._look_up, max_running_batches=_FIRST_LOOKUP_BATCHES, **_LIMITS
        )

    def cached(self, token: str) -> Principal | None:
        """Return the principal of ``token`` if it is cached; otherwise call `authenticate`.

        Raises:
            TokenExpiredError: The token has expired.
        """
        found = self._cache.get(credential_hash(token))
        if found is None:
            return None
        principal, expires_at = found
        return principal if expires_at is None else self._unexpired(principal, expires_at)

    async def authenticate(self, token: str) -> Principal:
        """Return the principal of ``token``.

        Raises:
            TokenInvalidError: The token does not exist or is revoked.
            TokenExpiredError: The token has expired.
            BusyError: Too many look-ups are waiting.
            UnavailableError: The database is unavailable.
        """
        return self.cached(token) or self._unexpired(*await self._find(credential_hash(token)))

    async def is_valid(self, principal: Principal) -> bool:
        """Return whether the token or session of ``principal`` is known to be valid now; this is no use of it."""
        try:
            row, _ = await self._lookups.submit(principal.credential)
        except ProjectKeyError:
            return False
        return row.expires_at is None or row.expires_at > self._clock()

    def forget(self, principal: Principal) -> None:
        """Look the token or session of ``principal`` up again when it is presented next."""
        self._cache.remove(principal.credential)

    async def page(self, organization: str, page: Page) -> list[TokenRow]:
        """Return the tokens of one organization, an id or slug, that are on ``page``, and the next one if it exists.

        Raises:
            NotFoundError: There is no such organization.
            UnavailableError: The database is unavailable.
        """
        async with self._database.connection() as connection:
            found = await find_organization(connection, organization)
            return await select_page(connection, found.id, page)

    def _unexpired(self, principal: Principal, expires_at: datetime | None) -> Principal:
        if expires_at is not None and expires_at <= self._clock():
            raise TokenExpiredError
        return principal

    async def _find(self, token_hash: bytes) -> tuple[Principal, datetime | None]:
        row, session_used_at = await self._row(token_hash)
        self._valid_before.put(token_hash, value=True)
        if row.expires_at is None or row.expires_at > self._clock():
            self.uses.record(row)
            if session_used_at is not None and session_used_at <= self._clock() - _SESSION_USE_INTERVAL:
                async with self._database.connection() as connection:
                    await note_session_use(connection, token_hash)
        principal = Principal(
            token_id=row.id,
            organization_id=row.organization_id,
            organization_slug=row.organization_slug,
            scopes=expand(row.scopes),
            rate_limit=row.rate_limit,
            credential=token_hash,
            is_session=session_used_at is not None,
        )
        self._cache.put(token_hash, (principal, row.expires_at))
        return principal, row.expires_at

    async def _row(self, token_hash: bytes) -> Found:
        if self._unknown.get(token_hash):
            raise TokenInvalidError
        lookups = self._lookups if self._valid_before.get(token_hash) else self._first_lookups
        try:
            return await lookups.submit(token_hash)
        except TokenInvalidError:
            self._unknown.put(token_hash, value=True)
            raise

    async def _look_up(self, hashes: Sequence[bytes]) -> Sequence[Found | Exception]:
        async with self._database.connection() as connection:
            found = await select_by_hashes(connection, hashes)
        return [_find_valid(found, token_hash) or TokenInvalidError() for token_hash in hashes]

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
        """Create a token and return it; only its hash is stored.

        ``organization``, an id or slug, limits the token to that organization; ``rate_limit`` is in requests per
        second and process. ``token`` is a token that was generated elsewhere; None generates one.

        Raises:
            NotFoundError: There is no such organization.
            TakenError: The token exists already, perhaps expired or revoked.
            ValueError: A scope does not exist.
            CommandError: ``token`` is too weak.
        """
        expand(scopes)
        text = new_token() if token is None else _checked(token)
        async with self._database.transaction() as connection:
            owner = None if organization is None else await find_organization(connection, organization)
            organization_id = None if owner is None else owner.id
            token_id = await insert_token(
                connection,
                organization_id=organization_id,
                name=name,
                token_hash=credential_hash(text),
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
            record = AuditRecord("token.create", name, data, origin, organization_id)
            await insert_audit_records(connection, [record])
        return text

    async def list(self) -> list[TokenRow]:
        """Return every token, oldest first."""
        async with self._database.connection() as connection:
            return await select_all(connection)

    async def revoke(self, token_id: int, origin: Origin = _COMMAND_LINE) -> str:
        """Revoke a token and return its name; replicas that have it in their caches accept it for 5 more seconds.

        Raises:
            NotFoundError: There is no token with this id, or it is revoked already.
        """
        async with self._database.transaction() as connection:
            revoked = await revoke_token(connection, token_id)
            if revoked is None:
                raise NotFoundError(f"there is no token {token_id} that is not revoked")
            name, organization_id = revoked
            record = AuditRecord("token.revoke", name, {"tokenId": token_id}, origin, organization_id)
            await insert_audit_records(connection, [record])
        return name


def _find_valid(found: Sequence[FoundToken], presented: bytes) -> Found | None:
    """Return what has this hash unless the token is revoked; hashes are compared in constant time."""
    rows = [(row, used_at) for stored, row, used_at in found if hmac.compare_digest(stored, presented)]
    return rows[0] if rows and rows[0][0].revoked_at is None else None


def _checked(token: str) -> str:
    if rule := violated_rule(token):
        raise CommandError(f"the token is too weak or malformed: it must {rule}")
    return token


def credential_hash(token: str) -> bytes:
    """Return the SHA-256 hash of a token, or of the credential of a session."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
