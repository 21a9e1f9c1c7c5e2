"""Sends records without keys to any topic; for data of which no order and no single writer is required."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaUnavailableError

_CLOSE_TIMEOUT: Final = 1.0
"""Seconds."""


class PlainProducer:
    """A producer that connects when it is used first.

    Args:
        connection: The connection settings.
        topic: The topic; it is not created.
        request_timeout: Seconds for each call of `send`.
    """

    def __init__(self, connection: KafkaConnection, topic: str, *, request_timeout: float) -> None:
        self._connection = connection
        self._topic = topic
        self._timeout = request_timeout
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, values: Sequence[bytes]) -> None:
        """Send records and wait until all in-sync replicas have them.

        Raises:
            KafkaUnavailableError: Not all records have been acknowledged; some may be in the topic.
        """
        try:
            async with asyncio.timeout(self._timeout):
                producer = await self._started()
                sent = [await producer.send(self._topic, value) for value in values]
                await asyncio.gather(*sent)
        except TimeoutError:
            await self.close()  # the next call uses the present credentials
            raise KafkaUnavailableError(f"the topic {self._topic}: no acknowledgement in time") from None
        except (KafkaError, OSError) as error:
            raise KafkaUnavailableError(f"the topic {self._topic}: {error}") from None

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._connection.client_options(),
                    acks="all",
                    request_timeout_ms=int(self._timeout * 1000),
                )
                try:
                    await producer.start()
                except BaseException:
                    await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def close(self) -> None:
        """Close the connections; records that are being sent may be lost."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(producer.stop(), _CLOSE_TIMEOUT)
