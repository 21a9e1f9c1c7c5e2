"""The shards that this process owns."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from service.publisher.shard_queue import ShardQueue


class OwnedShards(dict[int, ShardQueue]):
    """The queues of the shards that this process owns, by the number of the shard."""

    @property
    def numbers(self) -> list[int]:
        """The shards, ascending."""
        return sorted(self)

    def apply_leases(self, epochs: Mapping[int, int]) -> tuple[list[int], list[int]]:
        """Drop every queue that has no lease in its epoch, and create a queue for each new lease.

        Args:
            epochs: The epoch of each shard that this process owns.

        Returns:
            The shards that were lost and those that were gained; a shard with a new epoch is in both.
        """
        lost = [number for number, queue in self.items() if epochs.get(number) != queue.epoch]
        self.remove(lost)
        gained = [number for number in epochs if number not in self]
        self.update({number: ShardQueue(number, epochs[number]) for number in gained})
        return lost, gained

    def replace_outdated(self, server_started_at: datetime) -> list[int]:
        """Replace every queue with rows of a database server that did not start at this time by an empty one.

        Returns:
            The shards of these queues, which are published from the table from now on.
        """
        current = (None, server_started_at)
        outdated = [queue for queue in self.values() if queue.server_started_at not in current and not queue.draining]
        self.update({queue.number: ShardQueue(queue.number, queue.epoch) for queue in outdated})
        return [queue.number for queue in outdated]

    def remove(self, numbers: Sequence[int]) -> None:
        """Drop the queues of the shards ``numbers``."""
        for number in numbers:
            self.pop(number, None)

    def request_reads(self) -> None:
        """Request a read of the table for every shard."""
        for queue in self.values():
            queue.request_read()
