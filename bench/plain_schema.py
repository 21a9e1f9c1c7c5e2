"""A schema with the fewest columns, indexes and checks for keys and their events.

Compared with it, a rate shows the cost of what the service's own schema adds: checks, a third index, the audit entry.
"""

from typing import Final

SCHEMA: Final = """
    CREATE TABLE project_key (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        project_id  bigint NOT NULL,
        label       text NOT NULL,
        public_key  text NOT NULL UNIQUE,
        secret_key  text NOT NULL,
        created_at  timestamptz NOT NULL
    );
    CREATE TABLE outbox (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key         text NOT NULL,
        payload     text NOT NULL,
        created_at  timestamptz NOT NULL
    );
"""

SCRIPT: Final = """\
WITH new_key AS (
    INSERT INTO project_key (project_id, label, public_key, secret_key, created_at)
    VALUES (1, 'Fabulous Key', md5(random()::text), md5(random()::text), now())
    RETURNING public_key, created_at
)
INSERT INTO outbox (key, payload, created_at)
SELECT public_key,
       '{"id": "0123456789abcdef0123456789abcdef", "projectId": 1, "name": "Fabulous Key", "isActive": true,\
"dsn": {"public": "http://0123456789abcdef0123456789abcdef@127.0.0.1:9000/1"}, \
"dateCreated": "2026-01-01T00:00:00.000000Z"}',
       created_at
FROM new_key
RETURNING key, id;
"""
"""A script of pgbench: a key and its event in one statement."""
