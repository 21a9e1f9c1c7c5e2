"""The composition root: the one place that joins the parts, and starts and stops them in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, disable_created_metrics

from service.concurrency.supervisor import supervised
from service.concurrency.tenant_queue import TenantSlots
from service.contract.asyncapi import Topic
from service.domain.dsn import Ingest
from service.domain.errors import UnavailableError
from service.domain.partitioning import SHARDS
from service.environment import SettingsError
from service.http.docs.swagger_page import add_openapi_routes
from service.http.ops import Health
from service.http.routes import add_routes
from service.http.serializers import KeySerializer
from service.http.server.admission import AdmissionControl
from service.http.server.arriving_bodies import ArrivingBodies
from service.http.server.deadlines import Deadlines
from service.http.server.new_connections import NewConnections
from service.http.server.rate_limit import RateLimiter
from service.http.server.unsent_responses import UnsentResponses
from service.http.state import API, Api
from service.kafka.config import KafkaConnection
from service.kafka.producer import FencedProducer
from service.kafka.topic import TOPIC_CONFIG, watch_topic
from service.metrics import (
    JobMetrics,
    LoopMetrics,
    OutboxMetrics,
    PoolMetrics,
    PublisherMetrics,
    RequestMetrics,
)
from service.postgres.database import Database, Limits, PostgresError
from service.postgres.outbox import PostgresOutbox
from service.postgres.outbox_admin import select_backlog
from service.postgres.schema import SchemaError, problem_with, select_schema_state
from service.postgres.shards import PostgresShardOwnership
from service.publisher.publisher import Publisher, publisher_name
from service.settings import (
    DatabaseSettings,
    DsnSettings,
    KafkaSettings,
    Settings,
)
from service.usecases.acknowledgements import Acknowledgements
from service.usecases.audit import Audit
from service.usecases.bulk_changes import BulkChanges
from service.usecases.change_keys import DeleteKey, UpdateKey
from service.usecases.create_key import CreateKey
from service.usecases.event_factory import EventFactory
from service.usecases.idempotency import Idempotency
from service.usecases.jobs import Jobs
from service.usecases.organizations import Organizations
from service.usecases.projects import Projects
from service.usecases.read_keys import ReadKeys
from service.usecases.tokens import Tokens

_MAX_WAITING_WRITES: Final = 1024
_MAX_WRITE_WAIT: Final = 3.0
"""Writes that may wait for a slot, and seconds for each. A slot is a connection for a transaction that waits for row
locks; half of the pool has slots, and the other half serves batches of creates and reads."""

_DRAIN_WITHIN: Final = 1.0
"""Seconds, at the end, for creates whose callers have gone: they are done as a whole or not at all."""


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one process, joined."""

    settings: Settings
    registry: CollectorRegistry
    database: Database
    publisher: Publisher
    producer: FencedProducer
    jobs: Jobs
    api: Api
    health: Health


def kafka_connection(settings: KafkaSettings) -> KafkaConnection:
    """Return the connection parameters of Kafka.

    Raises:
        SettingsError: A credential is missing, or a certificate file cannot be used.
    """
    connection = KafkaConnection(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username or None,
        sasl_password=settings.kafka_sasl_password or None,
        ssl_cafile=settings.kafka_ssl_cafile or None,
        ssl_certfile=settings.kafka_ssl_certfile or None,
        ssl_keyfile=settings.kafka_ssl_keyfile or None,
    )
    if mistakes := connection.mistakes():
        raise SettingsError("\n".join(f"KAFKA_{name.upper()}: {text}" for name, text in mistakes.items()))
    return connection


def open_database(settings: DatabaseSettings) -> Database:
    """Return the connection pool of the database; it is not started."""
    limits = Limits(
        pool_size=settings.database_pool_size,
        connect=settings.connect_timeout,
        acquire=settings.acquire_timeout,
        statement=settings.statement_timeout,
        lock=settings.lock_timeout,
        idle_in_transaction=settings.idle_in_transaction_timeout,
    )
    return Database(settings.database_url, limits, through_pgbouncer=settings.database_pgbouncer)


def ingest_from(settings: DsnSettings) -> Ingest:
    """Return the parameters of DSNs."""
    return Ingest(settings.ingest_url, settings.org_subdomains, settings.loader_cdn_url or None)


def build(settings: Settings) -> Service:
    """Join the parts; nothing is started or connected."""
    # It would add a second time series for each counter, which is not used.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # -- the library forgot its types
    registry = CollectorRegistry()
    database = open_database(settings)
    PoolMetrics(registry, database.sizes)
    LoopMetrics(registry)
    producer = FencedProducer(
        kafka_connection(settings),
        topic=settings.kafka_topic,
        request_timeout=settings.kafka_request_timeout,
    )
    acknowledgements = Acknowledgements(database)
    publisher = Publisher(
        PostgresOutbox(database),
        PostgresShardOwnership(database, name=publisher_name(), lease=settings.shard_lease),
        producer,
        published=acknowledgements.published,
        metrics=PublisherMetrics(registry),
        heartbeat=settings.heartbeat_interval,
    )
    dsns = ingest_from(settings)
    events, idempotency, on_committed = EventFactory(dsns), Idempotency(database), publisher.enqueue
    slots = TenantSlots(
        slots=max(1, settings.database_pool_size // 2),
        max_waiting=_MAX_WAITING_WRITES,
        max_wait=_MAX_WRITE_WAIT,
    )
    bulk_changes = BulkChanges(events)
    jobs = Jobs(database, bulk_changes, on_committed=on_committed, metrics=JobMetrics(registry))
    metrics, admission = RequestMetrics(registry), AdmissionControl(settings.max_requests)
    api = Api(
        tokens=Tokens(database),
        organizations=Organizations(database, idempotency, on_job_inserted=jobs.wake),
        projects=Projects(
            database,
            events,
            bulk_changes,
            idempotency,
            on_committed=on_committed,
            on_job_inserted=jobs.wake,
        ),
        create_key=CreateKey(database, events, idempotency, slots=slots, on_committed=on_committed),
        update_key=UpdateKey(database, events, slots=slots, on_committed=on_committed),
        delete_key=DeleteKey(database, events, slots=slots, on_committed=on_committed),
        read_keys=ReadKeys(database),
        acknowledgements=acknowledgements,
        audit=Audit(database),
        key_serializer=KeySerializer(dsns),
        topic=Topic(settings.kafka_topic, SHARDS, TOPIC_CONFIG),
        links_base=settings.links_base,
        body_timeout=settings.body_timeout,
        body_limit=settings.body_limit,
        admission=admission,
        arriving=ArrivingBodies(settings.arriving_limit, admission),
        unsent=UnsentResponses(
            settings.unsent_limit, settings.send_timeout, lambda bound: metrics.aborted.labels(bound).inc()
        ),
        new_connections=NewConnections(
            settings.max_new_connections,
            settings.header_timeout,
            lambda: metrics.aborted.labels("max_new_connections").inc(),
        ),
        rate_limiter=RateLimiter(settings.max_requests),
        metrics=metrics,
        deadlines=Deadlines(settings.request_timeout),
    )
    metrics.in_flight.set_function(lambda: admission.taken)
    metrics.unsent.set_function(lambda: api.unsent.size)
    outbox_metrics = OutboxMetrics(registry)
    health = Health(
        checks=lambda: _checks(database, publisher),
        needed=frozenset({"postgres"}),
        before_scrape=lambda: _update_outbox_metrics(database, outbox_metrics),
    )
    return Service(settings, registry, database, publisher, producer, jobs, api, health)


def create_app(api: Api) -> web.Application:
    """The API's application."""
    app = web.Application(client_max_size=api.body_limit)
    app[API] = api
    add_openapi_routes(app)
    add_routes(app)
    app.cleanup_ctx.append(_background_tasks)
    return app


async def _background_tasks(app: web.Application) -> AsyncIterator[None]:
    api = app[API]
    restarts = api.metrics.restarts
    async with (
        supervised("deadlines", api.deadlines.sweep, restarts),
        supervised("room", api.admission.hear, restarts),
        supervised("token uses", api.tokens.uses.write, restarts),
    ):
        yield


@asynccontextmanager
async def publishing(
    service: Service, *, create_topic: bool = False, publish: bool = True
) -> AsyncIterator[None]:
    """Run the connection pool and the publisher until the end of the block; then release the shards.

    Without ``publish`` the events stay in the outbox, for other processes.
    """
    works = {"jobs": service.jobs.run}
    if publish:
        works["publisher"] = service.publisher.run
        works["topic"] = partial(
            watch_topic,
            kafka_connection(service.settings),
            service.settings.kafka_topic,
            partitions=SHARDS,
            create=create_topic,
        )
    async with AsyncExitStack() as stack:
        await service.database.start()
        stack.push_async_callback(service.database.close)
        stack.push_async_callback(service.producer.close)
        for name, work in works.items():
            await stack.enter_async_context(supervised(name, work, service.api.metrics.restarts))
        yield
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_WITHIN):
                await service.api.create_key.drain()


async def _checks(database: Database, publisher: Publisher) -> dict[str, str]:
    return {"postgres": await _check_postgres(database), "kafka": publisher.condition()}


async def _check_postgres(database: Database) -> str:
    try:
        async with database.connection() as connection:
            return problem_with(await select_schema_state(connection)) or "ok"
    except SchemaError as error:
        return str(error)
    except UnavailableError as error:
        return f"unreachable: {error}"


async def _update_outbox_metrics(database: Database, metrics: OutboxMetrics) -> None:
    try:
        async with database.connection() as connection:
            backlog = await select_backlog(connection)
    except (UnavailableError, PostgresError):
        return  # the metrics keep their last values; readiness reports a missing database or schema
    metrics.show(
        {shard.shard: (shard.depth, shard.oldest_age) for shard in backlog.shards}, parked=backlog.parked
    )
