"""Connections to the brokers, opened when first needed and reopened when lost.

No background task runs except the reading of responses, and no request is retried.
"""

import asyncio
import random
import time
from collections import defaultdict
from typing import Any, NamedTuple

from aiokafka.conn import AIOKafkaConnection, CloseReason, collect_hosts, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError

from service.concurrency.outage import Outage
from service.kafka.config import KafkaConnection
from service.kafka.errors import KafkaUnavailableError, KafkaUnreachableError

_IDLE_MS = 540_000  # a minute before the brokers, whose default is ten, would close the connection
_CLOSE_TIMEOUT = 1.0  # seconds; a broker that does not close its side must not delay the end of the process
_BROKER_TIMEOUT_SHARE = 0.25  # of the timeout, for each broker that is tried: leaves time for the next one
_ALL_BROKERS_SHARE = 0.7  # of the timeout; then callers get the reasons, before their own timeout

_SECURITY_MISMATCH_HINT = "the listener may need another KAFKA_SECURITY_PROTOCOL or a client certificate"


class Address(NamedTuple):
    """The address of a broker."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class _ConnectionKey(NamedTuple):
    """A broker and a purpose; a broker processes one request of a connection at a time.

    Produce requests have their own connections: one that waits for a slow replica must not delay a search for the
    new leader, and a metadata request that times out must not break off a produce request.
    """

    address: Address
    for_records: bool


class BrokerConnections:
    """The open connections of one client.

    Attributes:
        brokers: The known brokers of the cluster; set by the client from each metadata response.
    """

    def __init__(self, connection: KafkaConnection, *, request_timeout: float, outage: Outage | None = None) -> None:
        """Store the settings; connecting and waiting for a response may take `request_timeout` seconds each.

        `outage` records that no broker responds, and delays further attempts.
        """
        self.brokers: list[Address] = []
        self._bootstrap = list(connection.bootstrap_servers)
        self._connection = connection
        self._outage = outage or Outage()
        self._timeout = request_timeout
        self._connections: dict[_ConnectionKey, AIOKafkaConnection] = {}
        self._locks: defaultdict[_ConnectionKey, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def request(self, address: Address, request: Any, *, for_records: bool = False) -> Any:
        """Send a request to one broker and return its response, an object of aiokafka.

        Raises:
            KafkaUnavailableError: The broker is unreachable or does not respond in time.
        """
        key = _ConnectionKey(address, for_records)
        connection = await self._connected(key)
        try:
            return await connection.send(request)
        except (TimeoutError, asyncio.CancelledError) as error:
            # The next request must not use a connection that does not respond.
            connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            if isinstance(error, asyncio.CancelledError):
                raise
            reason = f"no response within {self._timeout:g} s"
        except (KafkaError, NotImplementedError) as error:  # the latter: no common version of the request
            reason = _message(error)
        raise KafkaUnavailableError(f"{address}: {reason}")

    async def request_any(self, request: Any) -> Any:
        """Send a request to the first broker that responds: connected ones, then known and bootstrap servers.

        Raises:
            KafkaUnreachableError: No broker responds.
        """
        if self._outage.seconds_left:
            raise KafkaUnreachableError(self._outage.reason)
        connected = [
            key.address
            for key, connection in self._connections.items()
            if connection.connected() and not key.for_records
        ]
        others = [*self.brokers, *(Address(host, port) for host, port, _ in collect_hosts(self._bootstrap))]
        random.shuffle(others)  # the time suffices for three that do not respond
        reasons: list[str] = []
        end = time.monotonic() + self._timeout * _ALL_BROKERS_SHARE
        for address in dict.fromkeys([*connected, *others]):
            if time.monotonic() >= end:
                break
            try:
                async with asyncio.timeout(self._timeout * _BROKER_TIMEOUT_SHARE):
                    response = await self.request(address, request)
            except TimeoutError:
                reasons.append(f"{address}: no response")
            except KafkaUnavailableError as error:
                reasons.append(str(error))
            else:
                return response
        raise self.unreachable("; ".join(reasons))

    def unreachable(self, reason: str) -> KafkaUnreachableError:
        """Record that no broker can be used; return the exception that callers receive."""
        servers = [Address(host, port) for host, port, _ in collect_hosts(self._bootstrap)]
        hosts, ports = (",".join(str(server[part]) for server in servers) for part in (0, 1))
        self._outage.failed(reason, host=hosts, port=ports)
        return KafkaUnreachableError(reason)

    def reachable(self) -> None:
        """Record that a broker has accepted the credentials."""
        self._outage.ended()

    async def close(self) -> None:
        """Close every connection; pending requests fail. Takes at most one second."""
        closing = [connection.close() for connection in self._connections.values()]
        self._connections.clear()
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_TIMEOUT)

    async def _connected(self, key: _ConnectionKey) -> AIOKafkaConnection:
        connection = self._connections.get(key)
        if connection is not None and connection.connected():
            return connection
        async with self._locks[key]:
            connection = self._connections.get(key)
            if connection is None or not connection.connected():
                connection = await self._connect(key.address)
                self._connections[key] = connection
            return connection

    async def _connect(self, address: Address) -> AIOKafkaConnection:
        timeout_ms = int(self._timeout * 1000)
        try:
            return await create_conn(
                *address,
                request_timeout_ms=timeout_ms,
                max_idle_ms=_IDLE_MS,
                **self._connection.security_options(),
            )
        except (ConnectionResetError, KafkaConnectionError) as error:
            raise KafkaUnavailableError(f"{address}: {_message(error)}; {_SECURITY_MISMATCH_HINT}") from None
        except (OSError, KafkaError, ValueError) as error:
            raise KafkaUnavailableError(f"{address}: {_message(error)}") from None


def _message(error: Exception) -> str:
    return str(error) or type(error).__name__
