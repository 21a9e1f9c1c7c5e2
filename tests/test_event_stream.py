"""The stream of events: what it contains, when it continues and ends, and how many there are."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse, ClientSession, ClientTimeout, TCPConnector

from projectkeys_servers.kafka import EmbeddedKafka
from service.domain.scopes import SCOPES
from service.settings import Settings
from service.usecases.event_feed import KEPT_EVENTS, MAX_STREAMS, EventFeed
from testkit.polling import poll_until
from tests.browser import Site, open_site
from tests.conftest import make_organization, make_project
from tests.http_service import ORGANIZATION
from tests.kafka_harness import new_topic
from tests.topic_writer import topic_writer
from tests.unread import is_aborted, unread_requests

PATH = f"/api/0/organizations/{ORGANIZATION}/events/stream/"
KEYS = f"/api/0/projects/{ORGANIZATION}/pump-station/keys/"
KEY = "0" * 31


@dataclass(frozen=True, slots=True)
class Live:
    """A service with its publisher on a real port, and a client with a token of one organization."""

    site: Site
    client: ClientSession

    @property
    def feed(self) -> EventFeed:
        """The feed of the service."""
        return self.site.service.use_cases.event_feed

    @asynccontextmanager
    async def stream(self, last_id: str = "", **parameters: str) -> AsyncIterator["Stream"]:
        """Open a stream."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with self.client.get(PATH, params=parameters, headers=headers) as response:
            yield Stream(response)

    async def create(self, name: str) -> str:
        """Create a key and return its id."""
        async with self.client.post(KEYS, json={"name": name}) as response:
            assert response.status == 201
            return str((await response.json())["id"])

    async def stopped(self) -> None:
        """Wait until nothing reads the topic."""
        await poll_until(lambda: self.feed.streams == 0 and self.feed._state == "stopped", timeout=5)


@dataclass(slots=True)
class Stream:
    """An open stream."""

    response: ClientResponse
    lines: int = 0

    async def next(self, *, within: float = 15) -> Mapping[str, Any]:
        """Return the next event: its members ``event``, ``data`` and perhaps ``id``."""
        event: dict[str, Any] = {}
        async with asyncio.timeout(within):
            async for line in self.response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if not name and "event" in event:
                    return event
                event[name] = orjson.loads(value) if value.startswith("{") else value
        raise EOFError

    async def end(self) -> None:
        """Wait for the end."""
        async with asyncio.timeout(5):
            await self.response.content.read()


@asynccontextmanager
async def _live(settings: Settings) -> AsyncIterator[Live]:
    async with (
        open_site(settings) as site,
        ClientSession(
            site.url,
            headers={"Authorization": f"Bearer {site.token}"},
            timeout=ClientTimeout(total=None),
            connector=TCPConnector(limit=0),
        ) as client,
    ):
        yield Live(site, client)


@pytest.fixture
async def live(settings: Settings, topic: str) -> AsyncIterator[Live]:
    """A service on a new topic."""
    async with _live(replace(settings, kafka_topic=topic, send_timeout=1.0)) as opened:
        yield opened


async def test_a_stream_has_the_events_of_its_organization(live: Live) -> None:
    """After a reset; without secrets and tombstones; of one project, if it names one; never another tenant's."""
    service = live.site.service
    neighbour = await make_organization(service, "next-door")
    await make_project(service, organization=neighbour)
    headers = {"Authorization": f"Bearer {await service.use_cases.tokens.create('test', scopes=SCOPES)}"}
    async with live.stream() as everything, live.stream(project="pump-station") as one_project:
        streams = (everything, one_project)
        assert [(await stream.next())["event"] for stream in streams] == ["reset", "reset"]
        for name in ("Theirs", "Theirs too"):
            theirs = KEYS.replace(ORGANIZATION, "next-door")
            async with live.client.post(theirs, json={"name": name}, headers=headers) as response:
                assert response.status == 201
        key = await live.create("Web")
        async with live.client.delete(f"{KEYS}{key}/") as response:
            assert response.status == 204
        await live.create("Last")
        for stream in streams:
            received = [await stream.next() for _ in range(3)]
            assert sorted((each["event"], each["data"]["name"]) for each in received) == [
                ("projectkey.created", "Last"),
                ("projectkey.created", "Web"),
                ("projectkey.deleted", "Web"),
            ]
            assert b"secret" not in orjson.dumps(received)
        assert everything.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert everything.response.headers["X-Accel-Buffering"] == "no"
        assert "no-store" in everything.response.headers["Cache-Control"]


async def test_a_stream_continues_after_the_last_event_of_an_earlier_one(live: Live) -> None:
    """Also with events that were published while no stream was open. Otherwise, or after another id, it is reset."""
    async with live.stream() as stream:
        await stream.next()
        await live.create("First")
        last = (await stream.next())["id"]
    await live.stopped()
    await live.create("Second")
    async with live.stream(last) as stream:
        event = await stream.next()
        assert (event["event"], event["data"]["name"]) == ("projectkey.created", "Second")
    newer = f"{last.partition('-')[0]}-999999"
    for unknown in ("0a0a0a0a-1", newer, newer + "9" * 5000, "x", "\u00b2-\u00b2", "-1"):
        async with live.stream(unknown.encode().decode("latin-1")) as stream:
            assert (await stream.next())["event"] == "reset"


async def test_a_client_that_reads_slowly_gets_a_reset(live: Live, kafka_bootstrap: str) -> None:
    """If it has missed more events than are kept; one that reads nothing is disconnected."""
    state: dict[str, Any] = {"organizationId": 1, "projectId": 1, "name": "k" * 8000}
    request = f"GET {PATH} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {live.site.token}\r\n\r\n".encode()
    slow = live.feed.stream(1, None, "")
    assert [kind for _, kind, _ in await anext(slow) or await anext(slow)] == ["reset"]
    async with topic_writer(kafka_bootstrap, live.site.service.settings.kafka_topic) as writer:
        with unread_requests(live.site.service.settings.port, 1, request) as [client]:
            await poll_until(lambda: live.feed.streams == 2)
            before = live.feed._newest
            for number in range(0, KEPT_EVENTS + 1, 100):
                keys = [f"{KEY}{each % 10}" for each in range(number, number + 100)]
                await asyncio.gather(*(writer.write(key, number + 1, **state) for key in keys))
            await poll_until(lambda: is_aborted(client))
    await poll_until(lambda: live.feed._newest >= before + KEPT_EVENTS + 1)
    assert [kind for _, kind, _ in await anext(slow)] == ["reset"]
    await slow.aclose()


async def test_a_stream_occupies_no_slot_and_has_no_deadline(live: Live) -> None:
    """Requests continue while it lasts."""
    live.site.server.deadlines._timeout = 0.1
    async with live.stream() as stream:
        await stream.next()
        await asyncio.sleep(0.6)
        assert live.site.server.admission.in_flight == 0
        live.site.server.deadlines._timeout = 10.0
        await live.create("Later")
        assert (await stream.next())["data"]["name"] == "Later"


async def test_a_stream_ends_with_its_token(live: Live) -> None:
    """Within five seconds; the next attempt gets 401."""
    async with live.stream() as stream:
        await stream.next()
        [token] = await live.site.service.use_cases.tokens.list()
        await live.site.service.use_cases.tokens.revoke(token.id)
        await stream.end()


async def test_a_stream_ends_before_the_service_stops(live: Live) -> None:
    """When draining begins, so that its client connects to another replica."""
    async with live.stream() as stream:
        await stream.next()
        live.site.server.draining = True
        await stream.end()


async def test_a_replica_has_a_limited_number_of_streams(live: Live) -> None:
    """A further one gets 503; the end of a connection frees its place; the end of the last one stops the reader."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(live.stream()) for _ in range(MAX_STREAMS)]
        assert {(await stream.next())["event"] for stream in streams} == {"reset"}
        async with live.client.get(PATH) as refused:
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            assert "100 open streams" in (await refused.json())["detail"]
        streams[0].response.close()
        await poll_until(lambda: live.feed.streams < MAX_STREAMS, timeout=5)
        async with live.stream() as stream:
            assert stream.response.status == 200
        for stream in streams:
            stream.response.close()
    await live.stopped()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (PATH.replace(ORGANIZATION, "next-door"), {}, 403),
        (f"{PATH}?project=nope", {}, 404),
        (f"{PATH}?project=%00", {}, 404),
        (PATH, {"Accept": "application/json"}, 406),
        (PATH, {"Authorization": "Bearer nope"}, 401),
    ],
)
async def test_a_stream_has_the_errors_of_other_reads(
    live: Live, path: str, headers: dict[str, str], status: int
) -> None:
    """And occupies no place."""
    async with live.client.get(path, headers=headers) as response:
        assert response.status == status
    assert live.feed.streams == 0


async def test_any_scope_permits_to_read_events(live: Live) -> None:
    """HEAD has the headers, and ends."""
    for scope in ("project:read", "org:read"):
        token = await live.site.service.use_cases.tokens.create("test", scopes=[scope])
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        async with live.client.head(PATH, headers=headers) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")


async def test_a_stream_says_that_kafka_is_unavailable(settings: Settings, own_kafka: EmbeddedKafka) -> None:
    """A reset follows when it is available again."""
    topic = await new_topic(own_kafka.bootstrap_servers)
    bootstrap = (own_kafka.bootstrap_servers,)
    opened = _live(replace(settings, kafka_topic=topic, kafka_bootstrap_servers=bootstrap))
    async with opened as live, live.stream() as stream:
        assert (await stream.next())["event"] == "reset"
        await own_kafka.stop()
        assert (await stream.next())["event"] == "problem"
        async with live.stream() as another:
            assert (await another.next())["event"] == "problem"
        await own_kafka.start()
        assert (await stream.next(within=40))["event"] == "reset"
        await live.create("Afterwards")
        assert (await stream.next(within=40))["data"]["name"] == "Afterwards"
