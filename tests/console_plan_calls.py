"""Calls of the functions that only the console needs, for `plan_calls`."""

from hashlib import sha256

from service.domain.model import MAX_BIGINT
from service.domain.pagination import Page
from service.postgres import key_pages, organizations, sessions, tokens
from service.postgres.database import Connection
from service.postgres.key_pages import KeyPage, KeySearch
from tests.plan_data import MIDDLE_KEY, ORGANIZATION, PROJECT


async def use_console(c: Connection) -> None:
    """Open, use and end sessions; list tokens and organizations; search keys."""
    await sessions.insert_session(c, sha256(b"new").digest(), token_id=1)
    await sessions.note_session_use(c, sha256(b"session 2").digest())
    await sessions.delete_session(c, sha256(b"session 3").digest())
    await sessions.delete_expired_sessions(c, limit=10)
    await organizations.select_organizations(c, None, skip=10, limit=10)
    for page in (Page(size=10), Page(size=10, start=MIDDLE_KEY), Page(10, MAX_BIGINT, newer=True)):
        await tokens.select_page(c, 1, page)
        keys = KeyPage(ORGANIZATION.id, PROJECT.id, page, None)
        await key_pages.search_keys(c, KeySearch(keys, "key 1"))
