"""Several brokers of Apache Kafka as one cluster: each partition on all of them, acknowledged by all but one."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from service.dev.kafka import EmbeddedKafka, Seat, new_cluster_id
from service.dev.ports import remembered_port


class EmbeddedKafkaCluster:
    """Brokers that live no longer than this process; nothing of them is meant to be kept between runs.

    Args:
        data_dir: Keeps everything of the brokers, in a directory each.
        cache_dir: Keeps what is downloaded once.
        report: Is told, in words for the user, of what takes more than a moment.
        brokers: How many there are.
    """

    def __init__(
        self, data_dir: Path, *, cache_dir: Path, report: Callable[[str], None], brokers: int = 3
    ) -> None:
        data_dir.mkdir(parents=True)
        files = [data_dir / f"port-{number}" for number in range(2 * brokers)]
        ports = [remembered_port(file, server="Kafka", report=report) for file in files]
        seats = list(zip(ports[::2], ports[1::2], strict=True))
        cluster = new_cluster_id()
        self.brokers = [
            EmbeddedKafka(
                data_dir / f"broker-{node}",
                cache_dir=cache_dir,
                report=report,
                seat=Seat(node, cluster, seats),
            )
            for node in range(1, brokers + 1)
        ]

    @property
    def bootstrap_servers(self) -> str:
        """Every broker's `host:port`, with commas between."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    async def start(self) -> None:
        """Start all of them; alone none would be ready.

        Raises:
            EmbeddedServerError: One cannot start; the others have been ended.
        """
        starts = (broker.start() for broker in self.brokers)
        for outcome in await asyncio.gather(*starts, return_exceptions=True):
            if outcome is not None:
                self.kill()
                raise outcome

    def kill(self) -> None:
        """End all of them by SIGKILL: to be asked takes each of them longer than its data is worth."""
        for broker in self.brokers:
            broker.kill()
