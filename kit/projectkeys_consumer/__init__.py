"""Keep a copy of every client key in memory, read from the Kafka topic that the `projectkeys` service writes.

The package needs aiokafka and the standard library. This program prints the existing keys and then each change, until
it is interrupted::

    import asyncio
    import contextlib
    import os

    from projectkeys_consumer import Change, ProjectKeys


    async def print_change(change: Change) -> None:
        print(change.public_key, "deleted" if change.state is None else change.state.name)


    async def main() -> None:
        servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
        async with ProjectKeys(bootstrap_servers=servers, snapshot="keys.snapshot") as keys:
            keys.on_change(print_change, include_existing=True)
            await keys.ready()
            print(f"{len(keys)} keys, {keys.lag().seconds:.1f} s behind")
            await asyncio.Event().wait()


    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
"""

from projectkeys_consumer.client_options import Security
from projectkeys_consumer.errors import NotReadyError
from projectkeys_consumer.keys import ProjectKeys
from projectkeys_consumer.read_progress import Lag
from projectkeys_consumer.state import Change, KeyState, LoaderOptions, RateLimit
from projectkeys_consumer.view import Counts

__all__ = [
    "Change",
    "Counts",
    "KeyState",
    "Lag",
    "LoaderOptions",
    "NotReadyError",
    "ProjectKeys",
    "RateLimit",
    "Security",
]
