"""Builds the use cases of commands, without a publisher in this process."""

from functools import partial

from service.app import ingest_from
from service.kafka.reader import read_topic
from service.kafka_connection import kafka_connection
from service.postgres.database import Database
from service.settings import DsnSettings, ReconcileSettings
from service.usecases.bulk_changes import BulkChanges
from service.usecases.event_factory import EventFactory
from service.usecases.idempotency import Idempotency
from service.usecases.organizations import Organizations
from service.usecases.projects import Projects
from service.usecases.reconcile.compare import Reconcile
from service.usecases.reconcile.repair import Repair


def build_organizations(database: Database) -> Organizations:
    """Build the use cases of organizations; running services read the jobs from the database."""
    return Organizations(database, Idempotency(database), on_job_inserted=_do_nothing)


def build_projects(database: Database, settings: DsnSettings) -> Projects:
    """Build the use cases of projects; running services read events and jobs from the database."""
    events, idempotency = EventFactory(ingest_from(settings)), Idempotency(database)
    return Projects(
        database,
        events,
        BulkChanges(events),
        idempotency,
        on_committed=_do_nothing,
        on_job_inserted=_do_nothing,
    )


def build_reconcile(database: Database, settings: ReconcileSettings) -> Reconcile:
    """Build the comparison of the topic with Postgres.

    Raises:
        SettingsError: As `kafka_connection`.
    """
    events = EventFactory(ingest_from(settings))
    topic = partial(read_topic, kafka_connection(settings), settings.kafka_topic)
    return Reconcile(database, events, Repair(database, BulkChanges(events)), topic)


def _do_nothing(*_: object) -> None:
    pass
