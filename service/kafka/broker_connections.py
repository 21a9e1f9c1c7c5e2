"""Connections to the brokers, made when they are first needed and again when they were lost.

Nothing runs in the background but the reading of answers, and no request is repeated.
"""

import asyncio
import random
from collections import defaultdict
from typing import Any, NamedTuple

from aiokafka.conn import AIOKafkaConnection, CloseReason, collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError

from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaUnavailableError

_IDLE_MS = 540_000  # a minute before the brokers, whose default is ten, would close the connection
_CLOSE_TIMEOUT = 1.0  # seconds; a peer that does not answer our farewell must not hold up the process
_TRY_SHARE = 0.3  # of our timeout, for one of several brokers that could answer: leaves time for the next one

_HOW_A_LISTENER_REFUSES = (
    "so ends a listener that is secured in another way (KAFKA_SECURITY_PROTOCOL) or asks for a certificate"
)


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _Line(NamedTuple):
    """A connection's purpose; a broker answers one request of a connection at a time.

    Records have lines of their own: one that waits for a slow replica must not hold up the finding of another
    leader, and a question that is given up must not break off what is being appended.
    """

    address: Address
    for_records: bool


class Connections:
    """The open connections of one client.

    Attributes:
        brokers: Those that the cluster is known to have; set by whoever learns of them.
    """

    def __init__(self, connection: KafkaConnection, *, request_timeout: float) -> None:
        """Keep the settings; a connection, and an answer, may take `request_timeout` seconds each.

        Raises:
            OSError: A certificate or key file cannot be read, or is not one.
        """
        self.brokers: list[Address] = []
        self._bootstrap = list(connection.bootstrap_servers)
        self._options = connection.security_options()
        self._timeout = request_timeout
        self._connections: dict[_Line, AIOKafkaConnection] = {}
        self._locks: defaultdict[_Line, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ask(self, address: Address, request: Any, *, for_records: bool = False) -> Any:
        """Ask one broker and return its answer, an object of aiokafka's.

        Raises:
            KafkaUnavailableError: It could not be reached or did not answer in time.
        """
        line = _Line(address, for_records)
        connection = await self._connected(line)
        try:
            return await connection.send(request)
        except (TimeoutError, asyncio.CancelledError) as error:
            # A silent connection must not be the one that is asked next time.
            connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            if isinstance(error, asyncio.CancelledError):
                raise
            reason = f"no answer within {self._timeout:g} s"
        except (KafkaError, NotImplementedError) as error:  # the latter: no common version of the request
            reason = _words(error)
        raise KafkaUnavailableError(f"{address}: {reason}")

    async def ask_any(self, request: Any) -> Any:
        """Ask whichever broker answers: one already connected, else one known, else the bootstrap servers.

        Raises:
            KafkaUnavailableError: None did.
        """
        connected = [
            line.address
            for line, connection in self._connections.items()
            if connection.connected() and not line.for_records
        ]
        known = random.sample(self.brokers, len(self.brokers))
        bootstrap = [Address(host, port) for host, port, _ in collect_hosts(self._bootstrap)]
        reasons: list[str] = []
        for address in dict.fromkeys([*connected, *known, *bootstrap]):
            try:
                async with asyncio.timeout(self._timeout * _TRY_SHARE):
                    return await self.ask(address, request)
            except TimeoutError:
                reasons.append(f"{address}: no answer")
            except KafkaUnavailableError as error:
                reasons.append(str(error))
        raise KafkaUnavailableError("; ".join(reasons))

    async def close(self) -> None:
        """Close every connection; requests under way fail. Ends within a second."""
        farewells = [connection.close() for connection in self._connections.values()]
        self._connections.clear()
        if farewells:
            await asyncio.wait(farewells, timeout=_CLOSE_TIMEOUT)

    async def _connected(self, line: _Line) -> AIOKafkaConnection:
        connection = self._connections.get(line)
        if connection is not None and connection.connected():
            return connection
        async with self._locks[line]:
            connection = self._connections.get(line)
            if connection is None or not connection.connected():
                connection = await self._connect(line.address)
                self._connections[line] = connection
            return connection

    async def _connect(self, address: Address) -> AIOKafkaConnection:
        timeout_ms = int(self._timeout * 1000)
        try:
            return await create_conn(
                *address, request_timeout_ms=timeout_ms, max_idle_ms=_IDLE_MS, **self._options
            )
        except (ConnectionResetError, KafkaConnectionError) as error:
            raise KafkaUnavailableError(f"{address}: {_words(error)}; {_HOW_A_LISTENER_REFUSES}") from None
        except (OSError, KafkaError, ValueError) as error:
            raise KafkaUnavailableError(f"{address}: {_words(error)}") from None


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
