"""Kafka brokers that differ from the development one: a cluster, further listeners, other properties."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from projectkeys_servers.kafka import ClusterMember, EmbeddedKafka, new_cluster_id
from projectkeys_servers.ports import free_port


@dataclass(frozen=True, slots=True)
class Listener:
    """A further listener of a broker: its name, its port, the advertised port, and the security protocol."""

    name: str
    port: int
    advertised_port: int
    security: str = "PLAINTEXT"


def listener(name: str, security: str = "PLAINTEXT", *, advertised_port: int | None = None) -> Listener:
    """Return a listener on a free port, which is also the advertised one unless another is given."""
    port = free_port()
    return Listener(name, port, advertised_port or port, security)


class ConfiguredKafka(EmbeddedKafka):
    """The embedded broker with further listeners, further properties and SCRAM users."""

    def __init__(
        self,
        data_dir: Path,
        *,
        cache_dir: Path,
        report: Callable[[str], None],
        listeners: Sequence[Listener],
        properties: Mapping[str, str],
        scram_users: Sequence[str],
    ) -> None:
        super().__init__(data_dir, cache_dir=cache_dir, report=report)
        self._listeners = listeners
        self._properties = properties
        self._scram_users = scram_users

    def _launch(self, jars: list[Path], main_class: str, *arguments: str, lock_fd: int) -> None:
        users = self._scram_users if main_class == "kafka.tools.StorageTool" else ()
        options = [word for user in users for word in ("--add-scram", user)]
        super()._launch(jars, main_class, *arguments, *options, lock_fd=lock_fd)

    def _configure(self) -> None:
        super()._configure()
        file = self._directory / "server.properties"
        written = dict(line.split("=", 1) for line in file.read_text().splitlines() if line[:1] not in {"", "#"})
        for added in self._listeners:
            written["listeners"] += f",{added.name}://127.0.0.1:{added.port}"
            written["advertised.listeners"] += f",{added.name}://127.0.0.1:{added.advertised_port}"
            written["listener.security.protocol.map"] += f",{added.name}:{added.security}"
        lines = (written | dict(self._properties)).items()
        file.write_text("".join(f"{name}={value}\n" for name, value in lines))


@asynccontextmanager
async def configured_kafka(
    directory: Path,
    *,
    cache_dir: Path,
    report: Callable[[str], None] = print,
    listeners: Sequence[Listener] = (),
    properties: Mapping[str, str] | None = None,
    scram_users: Sequence[str] = (),
) -> AsyncIterator[ConfiguredKafka]:
    """Run a broker during the block; ``scram_users`` in the format of Kafka's storage tool."""
    kafka = ConfiguredKafka(
        directory / "kafka",
        cache_dir=cache_dir,
        report=report,
        listeners=listeners,
        properties=properties or {},
        scram_users=scram_users,
    )
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.stop()


class EmbeddedKafkaCluster:
    """Brokers that all have every partition; Kafka acknowledges a record when all brokers but one have stored it.

    They exit with this process; their data is not kept between runs.

    Args:
        data_dir: Directory for the data of the brokers; must not exist.
        cache_dir: Directory of the downloads.
        report: Is called with a progress message before each step that takes long.
        brokers: The number of brokers.
    """

    def __init__(self, data_dir: Path, *, cache_dir: Path, report: Callable[[str], None], brokers: int = 3) -> None:
        data_dir.mkdir(parents=True)
        ports = [(free_port(), free_port()) for _ in range(brokers)]
        cluster = new_cluster_id()
        self.brokers = [
            EmbeddedKafka(
                data_dir / f"broker-{node}",
                cache_dir=cache_dir,
                report=report,
                member=ClusterMember(node, cluster, ports),
            )
            for node in range(1, brokers + 1)
        ]

    @property
    def bootstrap_servers(self) -> str:
        """Every broker's `host:port`, separated by commas."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    async def start(self) -> None:
        """Start all brokers at the same time; one alone does not become ready.

        Raises:
            EmbeddedServerError: A broker cannot start; the others have been killed.
        """
        starts = (broker.start() for broker in self.brokers)
        for outcome in await asyncio.gather(*starts, return_exceptions=True):
            if outcome is not None:
                self.kill()
                raise outcome

    def kill(self) -> None:
        """Send SIGKILL to all brokers: an orderly stop takes seconds, and their data is not kept."""
        for broker in self.brokers:
            broker.kill()
