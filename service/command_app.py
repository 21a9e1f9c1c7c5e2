"""The composition root of commands: connects to the servers and builds use cases, without a publisher."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import orjson

from service.app import ingest_from, open_database
from service.concurrency.tenant_slots import TenantSlots
from service.domain.events import SHARDS, EventFactory, TopicMessage
from service.environment import read
from service.kafka.errors import KafkaFailureError
from service.kafka.reader import read_topic, tail_topic
from service.kafka.topic import check_topic
from service.kafka_connection import kafka_connection
from service.postgres.command_errors import command_errors
from service.postgres.database import Database
from service.settings import (
    DatabaseSettings,
    DsnSettings,
    KafkaSettings,
    ReconcileSettings,
)
from service.usecases.idempotency import Idempotency
from service.usecases.organizations import Organizations
from service.usecases.reconcile.compare import Reconcile
from service.usecases.writes import WriteContext


@asynccontextmanager
async def connect_database(settings: DatabaseSettings | None = None) -> AsyncIterator[Database]:
    """Connect to the database of ``settings``, or of the environment if None, for the duration of the block.

    Raises:
        SettingsError: The settings are invalid.
        SchemaError: The database does not have the schema.
        UnavailableError: The database is unavailable.
        CommandError: Postgres rejected a statement.
    """
    database = open_database(settings or read(DatabaseSettings))
    await database.start()
    try:
        with command_errors():
            async with database.connection():  # fails before the command has done anything
                pass
            yield database
    finally:
        await database.close()


def build_organizations(database: Database) -> Organizations:
    """Build the use cases of organizations; running services read the jobs from the database."""
    return Organizations(database, Idempotency(database))


def write_context(database: Database, settings: DsnSettings) -> WriteContext:
    """Return the dependencies of use cases that write; running services read events and jobs from the database."""
    events = EventFactory(ingest_from(settings), to_json=orjson.dumps)
    slots = TenantSlots(slots=1, max_waiting=1, max_wait=1.0)  # a command has one transaction at a time
    return WriteContext(database, events, Idempotency(database), slots)


def build_reconcile(database: Database, settings: ReconcileSettings) -> Reconcile:
    """Build the comparison of the topic with Postgres.

    Raises:
        SettingsError: As `kafka_connection`.
    """
    topic = partial(read_topic, kafka_connection(settings), settings.kafka_topic)
    return Reconcile(write_context(database, settings), topic)


def tail(
    settings: KafkaSettings, *, from_beginning: bool
) -> AbstractAsyncContextManager[AsyncIterator[TopicMessage]]:
    """Read every record of the topic from now on, or from its beginning, for the duration of the block.

    Raises:
        SettingsError: As `kafka_connection`.
        KafkaUnavailableError: Kafka is unreachable, or the topic does not exist.
    """
    return tail_topic(kafka_connection(settings), settings.kafka_topic, from_beginning=from_beginning)


async def create_topic(settings: KafkaSettings) -> None:
    """Create the topic if it does not exist.

    Raises:
        SettingsError: As `kafka_connection`.
        KafkaFailureError: Kafka is unreachable, or the topic that exists cannot be used.
    """
    state = await check_topic(kafka_connection(settings), settings.kafka_topic, partitions=SHARDS, create=True)
    if state.problems:
        raise KafkaFailureError(" ".join(state.problems))
