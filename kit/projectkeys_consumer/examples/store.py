"""Keep every key in a key-value store such as Redis: ``dsn:<public key>`` holds what an ingest service needs."""

import json
from typing import Protocol

from projectkeys_consumer import Change, ProjectKeys


class Store(Protocol):
    """The methods that the store must have, for example `redis.asyncio.Redis`."""

    async def set(self, name: str, value: str, /) -> object:
        """Store ``value`` under ``name``."""

    async def delete(self, name: str, /) -> object:
        """Remove ``name`` if it exists."""


def mirror(keys: ProjectKeys, store: Store) -> None:
    """Copy ``keys`` to ``store`` while they are read; every key is written once at the start."""

    async def write(change: Change) -> None:
        name = f"dsn:{change.public_key}"
        if change.state is None:
            await store.delete(name)
        else:
            limit = change.state.rate_limit
            value = {
                "version": change.version,
                "project": change.state.project_id,
                "active": change.state.is_active,
                "limit": None if limit is None else [limit.count, limit.window],
            }
            await store.set(name, json.dumps(value))

    keys.on_change(write, include_existing=True)
