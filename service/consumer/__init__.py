"""The consumer kit: every client key in memory, kept as fresh as Kafka tells.

It needs aiokafka and the standard library, and nothing of the server. Where the server's libraries are not wanted:
``pip install 'aiokafka>=0.14,<0.15'`` and then ``pip install --no-deps projectkeys``.

A gate that lets an event of a client in, or not::

    import asyncio
    from service.consumer import Change, ProjectKeys

    async def tell(change: Change) -> None:
        print(change.public_key, "is gone" if change.state is None else change.state)

    async def main() -> None:
        async with ProjectKeys(bootstrap_servers="localhost:9092", snapshot="keys.snapshot") as keys:
            keys.on_change(tell)
            await keys.ready()
            print(f"{len(keys)} keys, {keys.lag().seconds:.1f} s behind")
            state = await keys.wait_for("889a038dcce86f89a24e2c5bcf7b2e41", version=1)
            print("let in" if state is not None and state.is_active else "refused")

    asyncio.run(main())
"""

from service.consumer.errors import NotReadyError
from service.consumer.keys import ProjectKeys
from service.consumer.options import Security
from service.consumer.progress import Lag
from service.consumer.replica import Counts
from service.consumer.state import Change, KeyState
from service.domain.model import LoaderOptions, RateLimit

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
