"""Brokers of one test that are set up in another way than the common one."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from service.dev.kafka import EmbeddedKafka
from tests.conftest import CACHE
from tests.kafka_harness import unused_port


@dataclass(frozen=True, slots=True)
class Listener:
    """A further way in: its name, its port, where clients that came by it are sent, and how it is secured."""

    name: str
    port: int
    advertised_port: int
    security: str = "PLAINTEXT"


def listener(name: str, security: str = "PLAINTEXT", *, advertised_port: int | None = None) -> Listener:
    """A listener on a port that is free now; its clients are sent to itself unless a port is named."""
    port = unused_port()
    return Listener(name, port, advertised_port or port, security)


class TunedKafka(EmbeddedKafka):
    """The embedded broker with further listeners, further properties and users for SCRAM."""

    def __init__(
        self,
        data_dir: Path,
        *,
        listeners: Sequence[Listener],
        properties: Mapping[str, str],
        scram_users: Sequence[str],
    ) -> None:
        super().__init__(data_dir, cache_dir=CACHE, report=print)
        self._listeners = listeners
        self._properties = properties
        self._scram_users = scram_users

    def _launch(self, jars: list[Path], main_class: str, *arguments: str, held: int) -> None:
        users = self._scram_users if main_class == "kafka.tools.StorageTool" else ()
        more = [word for user in users for word in ("--add-scram", user)]
        super()._launch(jars, main_class, *arguments, *more, held=held)

    def _configure(self) -> None:
        super()._configure()
        file = self._directory / "server.properties"
        given = dict(
            line.split("=", 1) for line in file.read_text().splitlines() if line[:1] not in {"", "#"}
        )
        for one in self._listeners:
            given["listeners"] += f",{one.name}://127.0.0.1:{one.port}"
            given["advertised.listeners"] += f",{one.name}://127.0.0.1:{one.advertised_port}"
            given["listener.security.protocol.map"] += f",{one.name}:{one.security}"
        lines = (given | dict(self._properties)).items()
        file.write_text("".join(f"{name}={value}\n" for name, value in lines))


@asynccontextmanager
async def tuned_kafka(
    directory: Path,
    *,
    listeners: Sequence[Listener] = (),
    properties: Mapping[str, str] | None = None,
    scram_users: Sequence[str] = (),
) -> AsyncIterator[TunedKafka]:
    """A broker, for the time of the block; ``scram_users`` are in the words of Kafka's storage tool."""
    kafka = TunedKafka(
        directory / "kafka", listeners=listeners, properties=properties or {}, scram_users=scram_users
    )
    try:
        await kafka.start()
        yield kafka
    finally:
        await kafka.stop()
