"""How the loops of the publisher wake each other."""

import asyncio
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Signals:
    """One event for each loop.

    Attributes:
        sender: There may be a session to open or a batch to send.
        outbox: There may be rows to park, to delete or to read.
        leases: There may be shards to claim, or some may be lost.
    """

    sender: asyncio.Event = field(default_factory=asyncio.Event)
    outbox: asyncio.Event = field(default_factory=asyncio.Event)
    leases: asyncio.Event = field(default_factory=asyncio.Event)
