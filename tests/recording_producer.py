"""A fake producer that stores all records and delays, fails or rejects them as a test configures."""

import asyncio
from collections.abc import Sequence

from service.kafka.errors import FencedError, KafkaUnavailableError, RecordRejectedError
from service.kafka.types import Batch, Outcome, ProducerSession, Record


class RecordingProducer:
    """A fake of the fenced producer and of the broker.

    Attributes:
        opened: Shards in the order in which sessions were opened.
        tried: Every record that was sent, with its shard, whether acknowledged or not.
        log: The acknowledged records, with their shards.
        gate: While it is cleared, no request gets a response.
        failures: How many more batches of a shard fail.
        failing_openings: How many more openings fail.
        max_batch_size: How many records of a batch are acknowledged at most.
        rejected_keys: Keys whose records, and the batches that contain them, are rejected for good.
        leaders: The leaders of shards; a missing shard has the leader "default".
        silent: Leaders that send no response.
    """

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.tried: list[tuple[int, Record]] = []
        self.log: list[tuple[int, Record]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: dict[int, int] = {}
        self.failing_openings = 0
        self.max_batch_size = 1000
        self.rejected_keys: set[str] = set()
        self.leaders: dict[int, str] = {}
        self.silent: set[str] = set()

    async def open(self, shard: int) -> ProducerSession:
        """Open a session and fence the shard's earlier ones."""
        if self.failing_openings > 0:
            self.failing_openings -= 1
            raise KafkaUnavailableError("configured to fail")
        self.opened.append(shard)
        return ProducerSession(shard, producer_id=shard, epoch=self.opened.count(shard), opened_at=0.0)

    async def send(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Acknowledge the batches when the gate is set, or fail as configured."""
        records = [list(batch.records) for batch in batches]
        for batch, sent in zip(batches, records, strict=True):
            self.tried.extend((batch.session.shard, record) for record in sent)
        await self.gate.wait()
        while any(self.leader(batch.session.shard) in self.silent for batch in batches):
            await asyncio.sleep(0.01)
        return [self._outcome(batch, sent) for batch, sent in zip(batches, records, strict=True)]

    def leader(self, shard: int) -> str:
        """Return the name of the shard's leader."""
        return self.leaders.get(shard, "default")

    def _outcome(self, batch: Batch, records: Sequence[Record]) -> Outcome:
        shard = batch.session.shard
        if self.failures.get(shard, 0) > 0:
            self.failures[shard] -= 1
            return Outcome(0, -1, KafkaUnavailableError("configured to fail"))
        if batch.session.epoch < self.opened.count(shard):
            return Outcome(0, -1, FencedError("a later session is open"))
        if any(record.key.decode() in self.rejected_keys for record in records):
            return Outcome(0, -1, RecordRejectedError("configured to fail", reason="rejected"))
        taken = records[: self.max_batch_size]
        self.log.extend((shard, record) for record in taken)
        return Outcome(len(taken), 0, None)
