"""The composition root: creates, starts and stops the parts of a process; `server` adds the HTTP part."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from typing import Final

import orjson
from prometheus_client import CollectorRegistry, disable_created_metrics

from service.concurrency.outage import Outage
from service.concurrency.supervisor import supervised
from service.concurrency.tenant_slots import TenantSlots
from service.domain.dsn import Ingest
from service.domain.errors import UnavailableError
from service.domain.events import SHARDS, EventFactory
from service.environment import SettingsError, reread
from service.kafka.producer import FencedProducer
from service.kafka.reader import follow_topic
from service.kafka.topic import watch_topic
from service.kafka_connection import kafka_connection
from service.logs import LineWriter
from service.metrics import (
    DependencyMetrics,
    JobMetrics,
    OutboxMetrics,
    ProcessMetrics,
    PublisherMetrics,
    RequestMetrics,
    UsageMetrics,
)
from service.postgres.database import Database, Limits, PostgresError
from service.postgres.outbox import PostgresOutbox
from service.postgres.outbox_admin import select_backlog
from service.postgres.schema import SchemaError, problem_with, select_schema_state
from service.postgres.session import check_session
from service.postgres.shards import PostgresShardOwnership
from service.publisher.publisher import Publisher, publisher_name
from service.settings import DatabaseSettings, DsnSettings, Settings
from service.usage.collector import UsageCollector
from service.usecases.acknowledgements import Acknowledgements
from service.usecases.audit import Audit
from service.usecases.change_keys import ChangeKeys
from service.usecases.create_key import CreateKey
from service.usecases.event_feed import KEPT_EVENTS, EventFeed
from service.usecases.expiry import Expiry
from service.usecases.idempotency import Idempotency
from service.usecases.jobs import Jobs
from service.usecases.organizations import Organizations
from service.usecases.projects import Projects
from service.usecases.publishing_status import PublishingStatus
from service.usecases.read_keys import ReadKeys
from service.usecases.rotate_key import RotateKey
from service.usecases.sessions import Sessions
from service.usecases.tokens import Tokens
from service.usecases.usage import Usage
from service.usecases.use_cases import UseCases
from service.usecases.writes import WriteContext

_MAX_WAITING_WRITES: Final = 1024
"""Transactions that may wait for a slot of `TenantSlots`."""

_DRAIN_TIMEOUT: Final = 1.0
"""Seconds, at shutdown, in which pending creates are committed whose clients have disconnected."""


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of a process except for HTTP."""

    settings: Settings
    registry: CollectorRegistry
    request_metrics: RequestMetrics
    outbox_metrics: OutboxMetrics
    database: Database
    publisher: Publisher
    producer: FencedProducer
    kafka_outage: Outage
    jobs: Jobs
    usage: UsageCollector | None
    expiry: Expiry
    use_cases: UseCases


def open_database(settings: DatabaseSettings, outage: Outage | None = None) -> Database:
    """Create the connection pool of the database, which connects when it is used; ``outage`` logs failures.

    Raises:
        SettingsError: The URL or a PG* variable has a parameter that is not supported.
    """
    limits = Limits(
        pool_size=settings.database_pool_size,
        connect=settings.connect_timeout,
        acquire=settings.acquire_timeout,
        statement=settings.statement_timeout,
        lock=settings.lock_timeout,
        idle_in_transaction=settings.idle_in_transaction_timeout,
    )
    try:
        return Database(
            lambda: reread(settings).database_url,
            limits,
            through_pgbouncer=settings.database_pgbouncer,
            outage=outage,
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None


def ingest_from(settings: DsnSettings) -> Ingest:
    """Return the parameters from which DSNs are derived."""
    return Ingest(settings.ingest_url, settings.org_subdomains, settings.loader_cdn_url or None)


def build(settings: Settings) -> Service:
    """Create the parts of a process; nothing is started or connected.

    Raises:
        SettingsError: As `kafka_connection`.
    """
    # The library would add a second time series, the time of creation, for each counter.
    disable_created_metrics()  # type: ignore[no-untyped-call]  # -- the library lacks its annotation
    registry = CollectorRegistry()
    postgres_outage, kafka_outage = Outage("postgres"), Outage("kafka")
    database = open_database(settings, postgres_outage)
    ProcessMetrics(registry, version=version("projectkeys"), dropped_lines=lambda: LineWriter.dropped)
    DependencyMetrics(
        registry,
        {"postgres": lambda: not postgres_outage.ongoing, "kafka": lambda: not kafka_outage.ongoing},
        database.sizes,
    )
    producer = FencedProducer(
        kafka_connection(settings),
        topic=settings.kafka_topic,
        request_timeout=settings.kafka_request_timeout,
        outage=kafka_outage,
    )
    acknowledgements = Acknowledgements(database)
    publisher = _build_publisher(settings, registry, database, producer, acknowledgements)
    context, job_metrics = _write_context(settings, database, publisher), JobMetrics(registry)
    jobs = Jobs(context, job_metrics)
    return Service(
        settings=settings,
        registry=registry,
        request_metrics=RequestMetrics(registry),
        outbox_metrics=OutboxMetrics(registry),
        database=database,
        publisher=publisher,
        producer=producer,
        kafka_outage=kafka_outage,
        jobs=jobs,
        expiry=Expiry(context, job_metrics),
        usage=_build_usage(settings, registry, database) if settings.usage else None,
        use_cases=_build_use_cases(settings, context, acknowledgements, jobs, kafka_outage),
    )


def _build_usage(settings: Settings, registry: CollectorRegistry, database: Database) -> UsageCollector:
    return UsageCollector(
        database=database,
        connection=kafka_connection(settings),
        topic=settings.outcomes_topic,
        owner=publisher_name(),
        lease=timedelta(seconds=settings.shard_lease),
        retention=timedelta(days=settings.usage_retention),
        metrics=UsageMetrics(registry),
    )


def _build_publisher(
    settings: Settings,
    registry: CollectorRegistry,
    database: Database,
    producer: FencedProducer,
    acknowledgements: Acknowledgements,
) -> Publisher:
    return Publisher(
        PostgresOutbox(database),
        PostgresShardOwnership(database, name=publisher_name(), lease=settings.shard_lease),
        producer,
        published=acknowledgements.record_published,
        metrics=PublisherMetrics(registry),
        heartbeat=settings.heartbeat_interval,
    )


def _write_context(settings: Settings, database: Database, publisher: Publisher) -> WriteContext:
    events = EventFactory(ingest_from(settings), to_json=orjson.dumps)
    slots = TenantSlots(
        slots=max(1, settings.database_pool_size // 2),  # the other connections serve batches
        max_waiting=_MAX_WAITING_WRITES,
        max_wait=settings.acquire_timeout,
    )
    return WriteContext(database, events, Idempotency(database), slots, publisher.enqueue)


def _build_use_cases(
    settings: Settings,
    context: WriteContext,
    acknowledgements: Acknowledgements,
    jobs: Jobs,
    kafka_outage: Outage,
) -> UseCases:
    database, read_keys = context.database, ReadKeys(context.database)
    return UseCases(
        tokens=(tokens := Tokens(database)),
        sessions=Sessions(database, tokens),
        organizations=Organizations(database, context.idempotency, on_job_inserted=jobs.wake),
        projects=Projects(context, on_job_inserted=jobs.wake),
        create_key=CreateKey(context),
        change_keys=ChangeKeys(context, read_keys),
        rotate_key=RotateKey(context),
        read_keys=read_keys,
        acknowledgements=acknowledgements,
        audit=Audit(database),
        usage=Usage(database) if settings.usage else None,
        publishing_status=PublishingStatus(database, lambda: not kafka_outage.ongoing),
        event_feed=EventFeed(partial(follow_topic, kafka_connection(settings), settings.kafka_topic, KEPT_EVENTS)),
    )


@asynccontextmanager
async def publishing(
    service: Service, *, create_topic: bool = False, publish: bool = True, check_topic: bool = True
) -> AsyncIterator[None]:
    """Run the connection pool and the background tasks until the end of the block; then release the shards.

    Args:
        service: The parts of the process.
        create_topic: Create the topic if it does not exist.
        publish: Whether to publish events; if False, other processes publish them.
        check_topic: Whether a publisher checks the topic; if False, the caller has done so.
    """
    tasks = {"jobs": service.jobs.run, "expiry": service.expiry.run}
    if service.usage is not None:
        tasks["usage"] = service.usage.run
    if publish:
        tasks["publisher"] = service.publisher.run
    if publish and check_topic:
        tasks["topic"] = partial(
            watch_topic,
            kafka_connection(service.settings),
            service.settings.kafka_topic,
            partitions=SHARDS,
            create=create_topic,
            outage=service.kafka_outage,
        )
    async with AsyncExitStack() as stack:
        await service.database.start()
        stack.push_async_callback(service.database.close)
        stack.push_async_callback(service.producer.close)
        for name, task in tasks.items():
            await stack.enter_async_context(supervised(name, task, service.request_metrics.restarts))
        yield
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_TIMEOUT):
                await service.use_cases.create_key.drain()
                await service.use_cases.change_keys.drain()


async def check_dependencies(service: Service) -> dict[str, str]:
    """Return the state of Postgres and Kafka by name: "ok" or the problem."""
    outage = service.kafka_outage
    kafka = f"unavailable: {outage.reason}" if outage.ongoing else service.publisher.condition()
    return {**await _check_postgres(service.database), "kafka": kafka}


async def _check_postgres(database: Database) -> dict[str, str]:
    """Return the state of Postgres and, as ``postgres_session``, parameters that differ from those needed."""
    try:
        async with database.connection() as connection:
            problem = problem_with(await select_schema_state(connection))
            differing = await check_session(connection, database.session_parameters)
    except (SchemaError, PostgresError) as error:
        return {"postgres": str(error)}
    except UnavailableError as error:
        return {"postgres": f"unavailable: {error}"}
    return {"postgres": problem or "ok", **({"postgres_session": differing} if differing else {})}


async def update_table_metrics(service: Service) -> None:
    """Set the metrics that are read from Postgres; leave them unchanged if it is unavailable."""
    try:
        async with service.database.connection() as connection:
            shards, parked = await select_backlog(connection)
            await service.expiry.count_expiring(connection)
    except (UnavailableError, PostgresError):
        return  # /readyz reports the problem
    service.outbox_metrics.show(shards, parked=parked)
