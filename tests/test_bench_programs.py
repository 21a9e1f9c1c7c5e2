"""The programs of the benchmark: the peers, the loaded database, and the condition for counting a rate."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer

from bench.databases import connected
from bench.deployment import MeasuredReplica
from bench.peers import earlier_commit
from bench.peers.running import PLAIN, Peers
from bench.programs import BenchError
from bench.report import Row
from bench.requests import keys_path
from bench.results import read_results
from bench.scale import __main__ as scale
from bench.scale import bulk
from bench.scale.loading import Sizes, load, sample
from projectkeys_servers.servers import Servers
from service.app import Service
from tests.conftest import CACHE
from tests.outbox import Postgres, write_row

_INDEXES = "SELECT indexdef FROM pg_indexes WHERE tablename = 'project_key' ORDER BY indexname"


async def test_a_rate_does_not_count_while_an_event_is_in_the_outbox(
    database_url: str, postgres: Postgres, tmp_path: Path
) -> None:
    """The database is asked, because a metric of the service may be out of date."""
    replica = MeasuredReplica({"DATABASE_URL": database_url}, "", tmp_path)
    await replica.wait_until_published()
    await write_row(postgres)
    with pytest.raises(BenchError, match="events are in the outbox after 0 s"):
        await replica.wait_until_published(timeout=0.1)


async def test_a_clone_without_the_earlier_commit_gets_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run tries again: nothing is left that the next one would take for an installation."""
    monkeypatch.setattr(earlier_commit, "COMMIT", "f" * 40)
    for _ in range(2):
        with pytest.raises(BenchError, match=r"f+ is not in this clone.*git fetch --unshallow"):
            await earlier_commit.install(tmp_path)


async def test_loading_keeps_the_indexes_and_reads_what_it_loaded(
    service: Service, database_url: str, postgres: Postgres
) -> None:
    """The indexes are dropped during the load."""
    before = await postgres.fetch(_INDEXES)
    copied: list[int] = []
    sizes = Sizes(keys=300, projects=4, large_project=120)
    await load(database_url, sizes, progress=copied.append)
    assert await postgres.fetch(_INDEXES) == before
    assert sum(copied) == await postgres.fetchval("SELECT count(*) FROM project_key") == 300
    large = await service.use_cases.projects.get("bench", "large")
    assert await postgres.fetchval("SELECT count(*) FROM project_key WHERE project_id = $1", large.id) == 120
    assert await postgres.fetchval("SELECT count(DISTINCT project_id) FROM project_key") == 4
    requests = await sample(database_url, sizes, "token")
    assert requests.large_project == large.id
    assert len(requests.keys) == 1000
    assert len(requests.deep_pages) > 900  # some positions are before the first key of the project
    assert requests.deep_pages[0].startswith(f"GET {keys_path('large')}?cursor=")


async def test_the_plain_service_publishes_each_key_before_its_response(servers: Servers, tmp_path: Path) -> None:
    """It is a baseline only if it does what it is compared with."""
    async with AsyncExitStack() as stack:
        peers = Peers(stack, servers, tmp_path, cache_dir=CACHE, report=print, read_keys=20)
        peer = await peers.get(PLAIN)
        assert peer is not None
        assert await peers.get(PLAIN) is peer
        async with connected(f"{servers.postgres.url.rpartition('/')[0]}/plain_service") as connection:
            stored = await connection.fetchval("SELECT count(*) FROM project_key")
    consumer = AIOKafkaConsumer(
        "plain_service", bootstrap_servers=servers.kafka.bootstrap_servers, auto_offset_reset="earliest"
    )
    await consumer.start()
    published = sum((await consumer.end_offsets(consumer.assignment())).values())
    await consumer.stop()
    assert len(peer.keys) == stored == published == 20


def test_the_results_of_the_other_parts_are_kept_if_one_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run with ten million keys takes hours; its exit code and its output report the failure."""

    @asynccontextmanager
    async def no_services(*_arguments: object, **_options: object) -> AsyncIterator[None]:
        yield None

    async def fail(*_arguments: object) -> list[Row]:
        raise BenchError("no response")

    async def succeed(*_arguments: object) -> list[Row]:
        return [Row("replay: keys per second", [5.0])]

    monkeypatch.setattr(scale, "new_services", no_services)
    monkeypatch.setattr(bulk, "size", succeed)
    monkeypatch.setattr(scale, "_PARTS", {"backlog": fail, "replay": succeed})
    file = tmp_path / "results.json"
    assert scale.main(["--json", str(file)]) == 1
    assert len(read_results(file).rows) == 2
    assert "backlog: no response" in capsys.readouterr().err
