"""The number of a key in its events: in those of new keys, of changes, and of keys of earlier releases."""

from typing import Any

import orjson
import pytest

from projectkeys_consumer.state import USUAL_VALUE
from service.app import Service
from service.domain.differences import Kind, TopicRecord
from service.domain.dsn import Ingest
from service.domain.events import ADDED_MEMBERS, EventFactory
from service.domain.model import NewProjectKey, ProjectKeyChange, utc_now
from service.json_text import dump_json
from service.postgres.key_writes import insert_keys
from service.usecases.create_key import prepare_key
from service.usecases.reconcile.diff_store import DiffStore
from tests.conftest import ORIGIN, make_project
from tests.outbox import Postgres


async def test_the_row_that_is_handed_over_has_the_stored_bytes(service: Service, postgres: Postgres) -> None:
    """Postgres adds the number when it inserts the key, and the process adds it to its own copy."""
    project = await make_project(service)
    events = EventFactory(Ingest("https://sentry.io"), to_json=dump_json)
    batch = [
        prepare_key(events, NewProjectKey(name=name), project, ORIGIN, utc_now()) for name in ("a", 'é\\"{"', "c")
    ]
    async with service.database.connection() as connection:
        rows = await insert_keys(connection, batch)
    stored = await postgres.fetch(
        "SELECT seq, payload::text, key.id FROM outbox JOIN project_key AS key ON key.public_key = aggregateid"
    )
    assert sorted((row.seq, row.event.payload) for row in rows) == sorted((row[0], row[1]) for row in stored)
    assert {orjson.loads(row[1])["keyId"] for row in stored} == {row[2] for row in stored}
    assert not any("keyId" in prepared.event.payload for prepared in batch), "a repetition would add it twice"


async def test_every_event_of_a_key_has_its_number(service: Service, postgres: Postgres) -> None:
    """After a change and after the deletion; no expiry is null. The consumer kit reads their form without parsing."""
    project = await make_project(service)
    created = await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)
    key, change_keys = created.key.public_key, service.use_cases.change_keys
    row_id = await postgres.fetchval("SELECT id FROM project_key WHERE public_key = $1", key)
    await change_keys.update(project, key, ProjectKeyChange(name="Newer"), ORIGIN)
    await change_keys.delete(project, key, ORIGIN)
    payloads = await postgres.fetch("SELECT payload FROM outbox WHERE aggregateid = $1 ORDER BY seq", key)
    assert all(USUAL_VALUE.fullmatch(row["payload"].encode()) for row in payloads)
    states = [orjson.loads(row["payload"]) for row in payloads]
    assert [(state["version"], state["keyId"], state["expiresAt"]) for state in states] == [
        (version, row_id, None) for version in (1, 2, 3)
    ]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, Kind.OUTDATED_FORM),
        ({"name": "Other"}, Kind.STALE),
        ({"version": 1}, Kind.STALE),
    ],
)
def test_a_record_without_the_added_members_is_outdated_and_not_stale(changes: dict[str, Any], kind: Kind) -> None:
    """If it is of the current version and otherwise equal."""
    state = {"keyId": 7, "version": 2, "organizationId": 1, "projectId": 1, "name": "Key", "expiresAt": None}
    former = {name: state[name] for name in state if name not in ADDED_MEMBERS} | changes
    key = "a" * 32
    with DiffStore.open() as store:
        store.add_postgres_keys([(key, 2, state), ("b" * 32, 2, state)])
        store.add_topic_records([TopicRecord("b" * 32, 2, orjson.dumps(state))])
        store.add_topic_records([TopicRecord(key, changes.get("version", 2), orjson.dumps(former))])
        assert [(found.public_key, found.kind) for found in store.find_differences()] == [(key, kind)]
