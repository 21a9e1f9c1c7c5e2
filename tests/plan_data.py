"""A database with many rows in every table, for the statements whose plans `test_plans` checks."""

from datetime import UTC, datetime
from hashlib import md5

from service.domain.model import LoaderOptions, Organization, Project, ProjectKey
from tests.outbox import Postgres

_NEVER_ANALYZE = """
    SELECT format('ALTER TABLE %I SET (autovacuum_enabled = false)', tablename) FROM pg_tables
    WHERE schemaname = 'public'
"""

_FILL = """
    INSERT INTO organization (slug, name)
    SELECT 'o-' || number, 'o' FROM generate_series(1, 2000) AS number;

    INSERT INTO project (organization_id, slug, name)
    SELECT CASE WHEN number = 1 THEN 1 ELSE 2 END, 'p-' || number, 'p' FROM generate_series(1, 2001) AS number;

    INSERT INTO project_slug_redirect (organization_id, slug, project_id)
    SELECT 2, 'former-' || number, 2 + number % 2000 FROM generate_series(1, 6000) AS number;

    INSERT INTO project_key (project_id, label, public_key, secret_key, is_active, loader_options, expires_at)
    SELECT CASE WHEN number <= 20000 THEN 1 ELSE 2 + number % 2000 END, 'key', md5('public' || number),
           md5('secret' || number), number % 5000 <> 0, '{"hasReplay": true, "hasPerformance": true,
           "hasDebug": false, "hasFeedback": false, "hasLogsAndMetrics": false}',
           CASE number % 20 WHEN 0 THEN now() - interval '1 day' WHEN 1 THEN now() + interval '3 days' END
    FROM generate_series(1, 40000) AS number;

    INSERT INTO deleted_key (public_key, organization_id, project_id, version)
    SELECT md5('deleted' || number), 1 + number % 2000, 1, 2 FROM generate_series(1, 6000) AS number;

    INSERT INTO outbox (id, aggregateid, type, version, shard, payload, headers, parked_at, last_error)
    SELECT md5('event' || number)::uuid, md5('public' || number), 'projectkey.created', 1, number % 12, '{}', '{}',
           CASE WHEN number % 1000 = 0 THEN now() END, 'refused'
    FROM generate_series(1, 6000) AS number;

    INSERT INTO outbox_publisher (name, lease_until)
    SELECT 'publisher-' || number, now() + interval '1 minute' FROM generate_series(1, 20) AS number;

    INSERT INTO api_token (organization_id, name, token_hash, last_four, scopes)
    SELECT 1, 'token', sha256(number::text::bytea), 'last', ARRAY['org:admin']
    FROM generate_series(1, 6000) AS number;

    INSERT INTO console_session (id_hash, token_id, expires_at)
    SELECT sha256(('session ' || number)::bytea), number, now() + interval '1 hour'
    FROM generate_series(1, 6000) AS number;

    INSERT INTO idempotency (token_id, key, fingerprint, target_id, created_at)
    SELECT 1 + number / 3000, 'i-' || number, sha256(''), 1,
           now() - CASE WHEN number % 2 = 0 THEN interval '2 days' ELSE interval '1 hour' END
    FROM generate_series(1, 6000) AS number;

    INSERT INTO audit_entry (organization_id, project_id, token_id, action, target, request_id, data, change_id)
    SELECT 1 + number / 6000, 1, 1 + number % 2, 'projectkey.create', md5('public' || number % 10), 'r', '{}',
           md5('event' || number)::uuid
    FROM generate_series(1, 12000) AS number;

    INSERT INTO batch_job (kind, organization_id, request_id, finished_at)
    SELECT 'replay', 1, 'r', CASE WHEN number % 2000 <> 0 THEN now() END FROM generate_series(1, 6000) AS number;

    INSERT INTO key_usage (key_id, category, hour, outcome, quantity)
    SELECT CASE WHEN number % 2 = 0 THEN 10000 ELSE number END, 1 + number % 4, '2026-01-01Z'::timestamptz
           + make_interval(hours => number / 4), 0, 1
    FROM generate_series(1, 20000) AS number;

    INSERT INTO key_last_seen (key_id, hour) SELECT id, now() FROM project_key WHERE project_id = 1;

    INSERT INTO usage_offset (topic, partition, next_offset)
    SELECT 'topic-' || number % 100, number, 0 FROM generate_series(1, 1000) AS number;
"""

JOB = 2000
"""The id of an unfinished job."""

FIRST_KEY, MIDDLE_KEY, LAST_KEY = 1, 10_000, 20_000
"""Row ids of keys of `PROJECT`; the keys of other projects have higher ids."""

FIRST_HOUR = _NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORGANIZATION = Organization(1, "o-1", "o", None, _NOW)
PROJECT = Project(1, "p-1", "p", "10.x", _NOW, ORGANIZATION)
"""The only project of its organization, with 20 000 keys."""

SMALL_PROJECT = Project(3, "p-3", "p", "10.x", _NOW, Organization(2, "o-2", "o", None, _NOW))
"""A project with ten keys, of an organization with 2 000 projects."""


async def forbid_autovacuum(postgres: Postgres) -> None:
    """Let no table be analyzed unless the test does it."""
    for row in await postgres.fetch(_NEVER_ANALYZE):
        await postgres.execute(row[0])


async def fill(postgres: Postgres) -> None:
    """Insert the rows."""
    await postgres.execute(_FILL)


def key_of(row_id: int) -> ProjectKey:
    """Return the key of a row of `PROJECT`; 0 is none of them."""
    public, secret = (
        md5(f"{half}{row_id}".encode(), usedforsecurity=False).hexdigest() for half in ("public", "secret")
    )
    return ProjectKey(PROJECT.id, "key", public, secret, True, None, None, LoaderOptions(), 1, _NOW)  # noqa: FBT003
