"""Appends records to the topic in the name of a shard's owner, and of nobody who owned the shard before.

A shard is a partition. Each has a transactional id, `<topic>-<shard>`, for which Kafka keeps a producer id
and an epoch. `FencedProducer.open` raises the epoch and appends a fence record under it; from then on the
partition's leader refuses whatever an earlier owner still sends, however late its bytes arrive. Transactions
are not used, so what several shards have to send to one broker goes in one request, each shard's batch under
its own producer id.

A session numbers its records without gaps and dies with its first failure. Nothing is repeated or buffered
here: the caller opens a new session and sends again what was not acknowledged. That may append a record
twice, never out of order.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from service.kafka.broker_connections import Address
from service.kafka.client import KafkaClient, encode_batch, error_name
from service.kafka.config import KafkaConnection
from service.kafka.errors import FencedError, KafkaFailureError, KafkaUnavailableError, RefusedError
from service.kafka.records import fence_record
from service.kafka.types import Batch, Outcome, Session, next_sequence

MAX_BATCH_BYTES = 512 * 1024
"""Where a batch ends; twelve shards' batches make a request of 6 MiB at most."""

MAX_RECORD_BYTES = 900 * 1024
"""The largest record that is sent, alone in its batch; below the 1 MiB that Kafka accepts by default."""

SESSION_SECONDS = 12 * 3600.0
"""How long a session may be used. After 24 hours without a record a partition's leader forgets the epoch
(`producer.id.expiration.ms`), and after 7 days without a new session the coordinator forgets the producer id
(`transactional.id.expiration.ms`); an owner that slept as long would no longer be fenced."""

_OPEN_PAUSE = 0.05  # seconds between two tries while the coordinator is being found or loaded

_NONE = 0
_TOPIC_UNKNOWN = 3
_DUPLICATE_SEQUENCE = 46
_COORDINATOR_NOT_YET = {14, 15, 16, 51}  # loading, not available, moved, busy with this id
_FENCED = {47, 90}  # InvalidProducerEpoch, ProducerFenced
_REFUSED = {10: "too_large", 18: "too_large", 32: "invalid_timestamp", 87: "invalid_record"}
_TOPIC_FORBIDDEN = 29
_TRANSACTIONAL_ID_FORBIDDEN = 53


@dataclass(frozen=True, slots=True)
class _Sending:
    session: Session
    count: int
    encoded: bytes


class FencedProducer:
    """Opens shards and sends their records."""

    def __init__(self, connection: KafkaConnection, *, topic: str, request_timeout: float = 10.0) -> None:
        """Keep the settings; `open` connects.

        Args:
            connection: How the brokers are reached.
            topic: The topic; must exist.
            request_timeout: The longest wait in seconds for a connection, an answer, and `open` as a whole.

        Raises:
            OSError: A certificate or key file cannot be read, or is not one.
        """
        self._client = KafkaClient(connection, request_timeout=request_timeout)
        self._topic = topic
        self._timeout = request_timeout
        self._leaders: dict[int, Address] = {}
        self._leaders_stale = True
        self._leaders_lock = asyncio.Lock()

    async def open(self, shard: int) -> Session:
        """Become the shard's only sender.

        Only for the shard's owner, which has to make sure afterwards that it still is: the last to open wins.

        Raises:
            KafkaUnavailableError: Kafka could not be reached in time, or will not have us; says why.
            FencedError: Another owner opened the shard at the same time, and later.
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
        """Send the batches, those of one broker in one request, and wait for every answer.

        Of a batch, the leading records up to `MAX_BATCH_BYTES` are sent, and at least one. A session can be
        in one call at a time; calls for different sessions may overlap. A cancelled call leaves its sessions
        dead.

        Returns:
            An outcome for each batch, in the order given.

        Raises:
            ValueError: A shard occurs twice.
        """
        if len({batch.session.shard for batch in batches}) < len(batches):
            raise ValueError("a shard occurs twice")
        outcomes: dict[int, Outcome] = {}
        by_leader: dict[Address, list[_Sending]] = defaultdict(list)
        for batch in batches:
            try:
                leader, sending = self._take(batch.session), _encode(batch)
            except KafkaFailureError as error:
                outcomes[batch.session.shard] = Outcome(0, -1, error)
            else:
                by_leader[leader].append(sending)
        for answered in await asyncio.gather(*(self._send_to(*group) for group in by_leader.items())):
            outcomes.update(answered)
        if any(isinstance(outcome.error, KafkaUnavailableError) for outcome in outcomes.values()):
            self._leaders_stale = True
        return [outcomes[batch.session.shard] for batch in batches]

    def leader(self, shard: int) -> Address | None:
        """Return the broker that answers for the shard, as far as is known."""
        return self._leaders.get(shard)

    async def close(self) -> None:
        """Close the connections; what is under way fails. Ends within a second."""
        await self._client.close()

    async def _find_leaders(self) -> None:
        async with self._leaders_lock:
            if not self._leaders_stale:
                return
            metadata = await self._client.topic_metadata(self._topic)
            if metadata.error != _NONE:
                raise self._failure(metadata.error)
            self._leaders, self._leaders_stale = metadata.leaders, False

    async def _new_session(self, shard: int) -> Session:
        transactional_id = f"{self._topic}-{shard}"
        while True:
            opened_at = time.monotonic()
            code, coordinator = await self._client.coordinator(transactional_id)
            if code == _NONE:
                code, producer_id, epoch = await self._client.init_producer_id(coordinator, transactional_id)
                if code == _NONE:
                    return Session(shard, producer_id, epoch, opened_at)
            if code == _TRANSACTIONAL_ID_FORBIDDEN:
                raise KafkaUnavailableError(
                    f"Kafka does not let us use the transactional id {transactional_id}: "
                    f"give this user Write and Describe on transactional ids that begin with {self._topic}-"
                )
            if code not in _COORDINATOR_NOT_YET:
                raise self._failure(code)
            await asyncio.sleep(_OPEN_PAUSE)

    def _take(self, session: Session) -> Address:
        """Claim the session for one batch and return its partition's leader."""
        if not session.usable:
            raise KafkaUnavailableError(f"the session of shard {session.shard} is dead or busy")
        session.usable = False
        if time.monotonic() - session.opened_at > SESSION_SECONDS:
            raise KafkaUnavailableError(f"the session of shard {session.shard} is too old to be safe")
        leader = self._leaders.get(session.shard)
        if leader is None:
            raise KafkaUnavailableError(f"the leader of {self._topic}-{session.shard} is not known")
        return leader

    async def _send_to(self, leader: Address, sendings: list[_Sending]) -> dict[int, Outcome]:
        batches = [(each.session.shard, each.encoded) for each in sendings]
        try:
            answers = await self._client.produce(leader, self._topic, batches)
        except KafkaUnavailableError as error:
            return {each.session.shard: Outcome(0, -1, error) for each in sendings}
        return {
            each.session.shard: self._settle(each.session, each.count, *answers[each.session.shard])
            for each in sendings
        }

    def _settle(self, session: Session, count: int, code: int, base_offset: int) -> Outcome:
        if code not in {_NONE, _DUPLICATE_SEQUENCE}:
            return Outcome(0, -1, self._failure(code))
        session.sequence = next_sequence(session.sequence, count)
        session.usable = True
        return Outcome(count, base_offset, None)

    def _failure(self, code: int) -> KafkaFailureError:
        name = error_name(code)
        if code in _FENCED:
            return FencedError(f"another owner has opened the shard ({name})")
        if code in _REFUSED:
            return RefusedError(f"Kafka refuses the record ({name})", reason=_REFUSED[code])
        if code == _TOPIC_FORBIDDEN:
            return KafkaUnavailableError(
                f"give this user Write and Describe on the topic {self._topic} ({name})"
            )
        if code == _TOPIC_UNKNOWN:
            return KafkaUnavailableError(f"there is no topic {self._topic} ({name})")
        return KafkaUnavailableError(name)


def _encode(batch: Batch) -> _Sending:
    session = batch.session
    encoded, count = encode_batch(
        batch.records,
        producer_id=session.producer_id,
        epoch=session.epoch,
        sequence=session.sequence,
        limit=MAX_BATCH_BYTES,
    )
    if len(encoded) > MAX_RECORD_BYTES:
        raise RefusedError(
            f"the record has {len(encoded)} bytes, more than the {MAX_RECORD_BYTES} that are sent",
            reason="too_large",
        )
    return _Sending(session, count, encoded)
