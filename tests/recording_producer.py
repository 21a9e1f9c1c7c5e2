"""A producer that keeps what it is given, and waits, fails or refuses where a test says so."""

import asyncio
from collections.abc import Sequence

from service.kafka.errors import FencedError, KafkaUnavailableError, RecordRejectedError
from service.kafka.types import Batch, Outcome, ProducerSession, Record


class RecordingProducer:
    """Stands in for Kafka.

    Attributes:
        opened: the shards in the order in which sessions were opened.
        tried: every record that was handed in with its shard, acknowledged or not.
        log: the records that were acknowledged, with their shards.
        gate: while not set, nothing is acknowledged.
        failures: how many further batches of a shard fail.
        refused_openings: how many further openings fail.
        most: how many records of a batch are acknowledged at most.
        unfit: the keys whose records are refused for good, and with them the batches that they are in.
        leaders: what answers for a shard, where it is not what answers for all others.
        silent: of these, those that answer nothing.
    """

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.tried: list[tuple[int, Record]] = []
        self.log: list[tuple[int, Record]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failures: dict[int, int] = {}
        self.refused_openings = 0
        self.most = 1000
        self.unfit: set[str] = set()
        self.leaders: dict[int, str] = {}
        self.silent: set[str] = set()

    async def open(self, shard: int) -> ProducerSession:
        """A session, and the end of the shard's earlier ones."""
        if self.refused_openings > 0:
            self.refused_openings -= 1
            raise KafkaUnavailableError("told to")
        self.opened.append(shard)
        return ProducerSession(shard, producer_id=shard, epoch=self.opened.count(shard), opened_at=0.0)

    async def send(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Acknowledge when the gate is open, or fail as told."""
        for batch in batches:
            self.tried.extend((batch.session.shard, record) for record in batch.records)
        await self.gate.wait()
        while any(self.leader(batch.session.shard) in self.silent for batch in batches):
            await asyncio.sleep(0.01)
        return [self._outcome(batch) for batch in batches]

    def leader(self, shard: int) -> str:
        """What answers for the shard."""
        return self.leaders.get(shard, "the only one")

    def _outcome(self, batch: Batch) -> Outcome:
        shard = batch.session.shard
        if self.failures.get(shard, 0) > 0:
            self.failures[shard] -= 1
            return Outcome(0, -1, KafkaUnavailableError("told to"))
        if batch.session.epoch < self.opened.count(shard):
            return Outcome(0, -1, FencedError("a later session is open"))
        if any(record.key.decode() in self.unfit for record in batch.records):
            return Outcome(0, -1, RecordRejectedError("told to", reason="unfit"))
        taken = batch.records[: self.most]
        self.log.extend((shard, record) for record in taken)
        return Outcome(len(taken), 0, None)
