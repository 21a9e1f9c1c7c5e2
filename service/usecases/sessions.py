"""Opens and ends sessions of the console."""

import secrets

from service.domain.audit import AuditRecord
from service.domain.errors import TokenInvalidError
from service.domain.model import Origin, Principal
from service.domain.tokens import TokenRow, session_credential
from service.postgres.audit import insert_audit_records
from service.postgres.database import Database
from service.postgres.sessions import delete_session, insert_session
from service.postgres.tokens import select_by_hashes
from service.usecases.tokens import Tokens, credential_hash


class Sessions:
    """The sessions of the console. `Tokens` authenticates a session as it does the token that opened it."""

    def __init__(self, database: Database, tokens: Tokens) -> None:
        self._database = database
        self._tokens = tokens

    async def open(self, principal: Principal, origin: Origin) -> str:
        """Open a session with the rights of a token, and return its secret id; only the hash of the id is stored.

        Raises:
            TokenInvalidError: The token was revoked meanwhile.
            UnavailableError: The database is unavailable.
        """
        session_id = secrets.token_urlsafe(32)
        id_hash = credential_hash(session_credential(session_id))
        async with self._database.transaction() as connection:
            token = await insert_session(connection, id_hash, token_id=principal.token_id)
            if token is None:
                raise TokenInvalidError
            name, organization_id = token
            record = AuditRecord("session.create", name, {}, origin, organization_id)
            await insert_audit_records(connection, [record])
        return session_id

    async def end(self, principal: Principal, origin: Origin) -> None:
        """End the session of a principal; this replica rejects it at once, the others within 5 s.

        Raises:
            UnavailableError: The database is unavailable.
        """
        token = await self.token(principal)
        async with self._database.transaction() as connection:
            if await delete_session(connection, principal.credential):
                record = AuditRecord("session.end", token.name, {}, origin, token.organization_id)
                await insert_audit_records(connection, [record])
        self._tokens.forget(principal)

    async def token(self, principal: Principal) -> TokenRow:
        """Return the token of a principal; ``expires_at`` is the end of the session if that is earlier.

        Raises:
            TokenInvalidError: The session has ended meanwhile.
            UnavailableError: The database is unavailable.
        """
        async with self._database.connection() as connection:
            found = await select_by_hashes(connection, [principal.credential])
        if not found:
            raise TokenInvalidError
        return found[0][1]
