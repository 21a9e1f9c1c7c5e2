"""Appends records to the topic in fenced producer sessions.

A shard is a partition. Each has a transactional id, `<topic>-<shard>`, for which Kafka keeps a producer id
and an epoch. `FencedProducer.open` raises the epoch and appends a fence record with it; from then on the
partition's leader rejects every record of earlier sessions, however late its bytes arrive. Transactions are
not used, so the batches of several shards share one request per broker, each with its own producer id.

A session numbers its records without gaps and ends with its first failure. Nothing is retried or buffered
here: the caller opens a new session and sends again what was not acknowledged. That may append a record
twice, but never out of order.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from service.concurrency.outage import Outage
from service.kafka.broker_connections import Address
from service.kafka.client import KafkaClient, encode_batch, error_name
from service.kafka.config import KafkaConnection
from service.kafka.errors import FencedError, KafkaFailureError, KafkaUnavailableError, RecordRejectedError
from service.kafka.records import fence_record
from service.kafka.types import Batch, Outcome, ProducerSession, next_sequence

MAX_BATCH_BYTES = 512 * 1024
"""Size limit of a batch; with twelve shards a request has 6 MiB at most."""

MAX_RECORD_BYTES = 900 * 1024
"""The largest record that is sent, alone in its batch; below the 1 MiB that Kafka accepts by default."""

SESSION_SECONDS = 12 * 3600.0
"""How long a session may be used. After 24 hours without a record the partition's leader drops the epoch
(`producer.id.expiration.ms`), and after 7 days without a new session the coordinator drops the producer id
(`transactional.id.expiration.ms`); a process that was stopped for that long would no longer be fenced."""

_COORDINATOR_RETRY_DELAY = 0.05  # seconds, while the coordinator is being elected or loads its state

_NONE = 0
_TOPIC_UNKNOWN = 3
_DUPLICATE_SEQUENCE = 46
_COORDINATOR_NOT_YET = {14, 15, 16, 51}  # loading, not available, moved, busy with this id
_FENCED = {47, 90}  # InvalidProducerEpoch, ProducerFenced
_REJECTED = {10: "too_large", 18: "too_large", 32: "invalid_timestamp", 87: "invalid_record"}
_TOPIC_FORBIDDEN = 29
_TRANSACTIONAL_ID_FORBIDDEN = 53


@dataclass(frozen=True, slots=True)
class _EncodedBatch:
    session: ProducerSession
    count: int
    encoded: bytes


class FencedProducer:
    """Opens sessions of shards and sends their records."""

    def __init__(
        self,
        connection: KafkaConnection,
        *,
        topic: str,
        request_timeout: float = 10.0,
        outage: Outage | None = None,
    ) -> None:
        """Store the settings; `open` connects.

        Args:
            connection: The connection settings.
            topic: The topic; must exist.
            request_timeout: The longest wait in seconds for a connection, for a response, and for `open` as a whole.
            outage: Records that no broker responds, and delays further attempts.
        """
        self._client = KafkaClient(connection, request_timeout=request_timeout, outage=outage)
        self._topic = topic
        self._timeout = request_timeout
        self._leaders: dict[int, Address] = {}
        self._leaders_stale = True
        self._leaders_lock = asyncio.Lock()

    async def open(self, shard: int) -> ProducerSession:
        """Open a session of the shard and fence every earlier one.

        The caller has to check afterwards that it still owns the shard: the last session to be opened wins.

        Raises:
            KafkaUnavailableError: Kafka is unreachable, does not respond in time or denies access.
            FencedError: Another owner has opened a later session at the same time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._find_leaders()
                session = await self._new_session(shard)
                [outcome] = await self.send([Batch(session, [fence_record()])])
        except TimeoutError:
            raise KafkaUnavailableError(f"shard {shard} was not opened within {self._timeout:g} s") from None
        if outcome.error is not None:
            raise outcome.error
        return session

    async def send(self, batches: Sequence[Batch]) -> list[Outcome]:
        """Send the batches, those of one broker in one request, and wait for all responses.

        The leading records of a batch up to `MAX_BATCH_BYTES` are sent, and at least one. A session can be in one
        call at a time; calls for different sessions may overlap. A cancelled call makes its sessions unusable.

        Returns:
            An outcome for each batch, in the order given.

        Raises:
            ValueError: A shard occurs twice.
        """
        if len({batch.session.shard for batch in batches}) < len(batches):
            raise ValueError("a shard occurs twice")
        outcomes: dict[int, Outcome] = {}
        by_leader: dict[Address, list[_EncodedBatch]] = defaultdict(list)
        for batch in batches:
            try:
                leader, encoded = self._claim(batch.session), _encode(batch)
            except Exception as error:  # noqa: BLE001 -- the other batches are sent after any error
                outcomes[batch.session.shard] = Outcome(0, -1, error)
            else:
                by_leader[leader].append(encoded)
        for completed in await asyncio.gather(*(self._send_to(*group) for group in by_leader.items())):
            outcomes.update(completed)
        if any(isinstance(outcome.error, KafkaUnavailableError) for outcome in outcomes.values()):
            self._leaders_stale = True
        return [outcomes[batch.session.shard] for batch in batches]

    def leader(self, shard: int) -> Address | None:
        """Return the broker that leads the shard's partition; None if it is not known."""
        return self._leaders.get(shard)

    async def close(self) -> None:
        """Close the connections; pending requests fail. Takes at most one second."""
        await self._client.close()

    async def _find_leaders(self) -> None:
        async with self._leaders_lock:
            if not self._leaders_stale:
                return
            metadata = await self._client.topic_metadata(self._topic)
            if metadata.error != _NONE:
                raise self._failure(metadata.error)
            self._leaders, self._leaders_stale = metadata.leaders, False

    async def _new_session(self, shard: int) -> ProducerSession:
        transactional_id = f"{self._topic}-{shard}"
        while True:
            opened_at = time.monotonic()
            code, coordinator = await self._client.coordinator(transactional_id)
            if code == _NONE:
                code, producer_id, epoch = await self._client.init_producer_id(coordinator, transactional_id)
                if code == _NONE:
                    return ProducerSession(shard, producer_id, epoch, opened_at)
            if code == _TRANSACTIONAL_ID_FORBIDDEN:
                raise KafkaUnavailableError(
                    f"Kafka denies access to the transactional id {transactional_id}: "
                    f"give this user Write and Describe on transactional ids that begin with {self._topic}-"
                )
            if code not in _COORDINATOR_NOT_YET:
                raise self._failure(code)
            await asyncio.sleep(_COORDINATOR_RETRY_DELAY)

    def _claim(self, session: ProducerSession) -> Address:
        """Claim the session for one batch and return its partition's leader."""
        if not session.usable:
            raise KafkaUnavailableError(f"the session of shard {session.shard} has failed or is in use")
        session.usable = False
        if time.monotonic() - session.opened_at > SESSION_SECONDS:
            raise KafkaUnavailableError(f"the session of shard {session.shard} is too old to be safe")
        leader = self._leaders.get(session.shard)
        if leader is None:
            raise KafkaUnavailableError(f"the leader of {self._topic}-{session.shard} is not known")
        return leader

    async def _send_to(self, leader: Address, encoded_batches: list[_EncodedBatch]) -> dict[int, Outcome]:
        batches = [(each.session.shard, each.encoded) for each in encoded_batches]
        try:
            responses = await self._client.produce(leader, self._topic, batches)
        except KafkaUnavailableError as error:
            return {each.session.shard: Outcome(0, -1, error) for each in encoded_batches}
        return {
            each.session.shard: self._outcome(each.session, each.count, *responses[each.session.shard])
            for each in encoded_batches
        }

    def _outcome(self, session: ProducerSession, count: int, code: int, base_offset: int) -> Outcome:
        if code not in {_NONE, _DUPLICATE_SEQUENCE}:
            return Outcome(0, -1, self._failure(code))
        session.sequence = next_sequence(session.sequence, count)
        session.usable = True
        return Outcome(count, base_offset, None)

    def _failure(self, code: int) -> KafkaFailureError:
        name = error_name(code)
        if code in _FENCED:
            return FencedError(f"another owner has opened the shard ({name})")
        if code in _REJECTED:
            return RecordRejectedError(f"Kafka rejects the record ({name})", reason=_REJECTED[code])
        if code == _TOPIC_FORBIDDEN:
            return KafkaUnavailableError(f"give this user Write and Describe on the topic {self._topic} ({name})")
        if code == _TOPIC_UNKNOWN:
            return KafkaUnavailableError(f"there is no topic {self._topic} ({name})")
        return KafkaUnavailableError(name)


def _encode(batch: Batch) -> _EncodedBatch:
    session = batch.session
    encoded, count = encode_batch(
        batch.records,
        producer_id=session.producer_id,
        epoch=session.epoch,
        sequence=session.sequence,
        limit=MAX_BATCH_BYTES,
    )
    if len(encoded) > MAX_RECORD_BYTES:
        raise RecordRejectedError(
            f"the record has {len(encoded)} bytes, more than the limit of {MAX_RECORD_BYTES}",
            reason="too_large",
        )
    return _EncodedBatch(session, count, encoded)
