"""Every key in a store of texts, such as Redis: ``dsn:<public key>`` holds what a gate has to know."""

import json
from typing import Protocol

from service.consumer import Change, ProjectKeys


class Store(Protocol):
    """What is asked of the store; `redis.asyncio.Redis` is one."""

    async def set(self, name: str, value: str, /) -> object:
        """Hold ``value`` under ``name``."""

    async def delete(self, name: str, /) -> object:
        """Hold nothing under ``name``, whether or not there was anything."""


def mirror(keys: ProjectKeys, store: Store) -> None:
    """Keep ``store`` like ``keys``, for as long as those are read; every key is written once at the start."""

    async def write(change: Change) -> None:
        name = f"dsn:{change.public_key}"
        if change.state is None:
            await store.delete(name)
        else:
            limit = change.state.rate_limit
            told = {
                "version": change.version,
                "project": change.state.project_id,
                "active": change.state.is_active,
                "limit": None if limit is None else [limit.count, limit.window],
            }
            await store.set(name, json.dumps(told))

    keys.on_change(write, everything=True)
