"""Every statement on rows of a tenant contains the tenant; exceptions are listed with their reasons."""

import re

import pytest

from tests.statements import Statement, statements

_TENANT_TABLES = (
    *(
        "organization",
        "project",
        "project_slug_redirect",
        "project_key",
        "deleted_key",
        "audit_entry",
        "api_token",
    ),
)
_TOUCHES = re.compile(rf"\b(?:FROM|JOIN|INTO|UPDATE|USING) (?:{'|'.join(_TENANT_TABLES)})\b")
_OPTIONAL = re.compile(r"\(\$\d+::\w+ IS NULL OR [^()]*\)")
"""A condition that does not apply if the argument is NULL."""

_NAMES_IT = re.compile(
    r"(?:organization_id|organization\.id|^UPDATE organization SET [\w$, =]+ WHERE id) ="
    r" (?:\$\d|coalesce\(\$1|new\.|wanted\.)"
    r"|organization_id >= (\$\d) AND organization_id <= \1"
    r"|\((?P<columns>(?:\w+\.\w+, )?\w+\.organization_id), \w+\.id\) (?:<=|>)"
    r" \((?P<values>(?:\$\d::\w+, )?\$\d), [^)]+\) AND \(?(?P=columns)\)? [<>]= \(?(?P=values)(?!\d)"
    r"|INSERT INTO \w+ \([^)]*\borganization_id\b"
)
"""An equation, a range of one value (which an index can be read along), or a column of the new row."""

_OF_OPERATORS = {
    "outbox_admin": "`events parked`",
    "exports": "`export`",
    "transfers": "`import`",
    "full_scan": "`events reconcile` compares everything with the topic",
}
"""Modules that HTTP requests do not reach."""

_WITHOUT = {
    "audit._OF_ALL": "`audit list`, a command of the operator",
    "batch_jobs._SELECT_JOB": "`events replay` shows the progress of a job to the operator",
    "batch_jobs._SELECT_UNFINISHED": "`events replay --list` shows the jobs of all tenants to the operator",
    "deleted_keys._SELECT_LAST_SCANNED": "where the next batch of a replay begins; gives a place, no content",
    "deleted_keys._LOCK": "the owner of a public key: the caller responds to other tenants that the key is taken",
    "deleted_keys._LOCK_BETWEEN": "a replay by command, of all tenants or of one",
    "deleted_keys._LOCK_BY_PUBLIC_KEYS": "a replay by command, of keys by their names",
    "deleted_keys._UPDATE_VERSIONS": "of what a replay has locked just now",
    "key_lifecycle._COUNT_EXPIRING": "a metric; returns a number, no content",
    "key_lifecycle._SELECT_EXPIRED": "a task of the service disables the expired keys of all tenants",
    "keys._COUNT": "`events replay` and `events reconcile` count the keys of all tenants or of one",
    "keys._SELECT_TAKEN": "keys are unique over all tenants; returns whether a key is taken, not its owner",
    "key_locks._SELECT_LAST_SCANNED": "where the next batch of a replay begins; gives a place, no content",
    "key_locks._LOCK_BETWEEN": "a replay by command, of all tenants or of one",
    "key_locks._LOCK_BY_PUBLIC_KEYS": "a replay by command, of keys by their names",
    "key_locks._SELECT_LOCKED": "what those locks hold, and what an organization's own change has locked",
    "key_writes._UPDATE_VERSIONS": "of keys that the transaction has locked: of an organization, or of a replay",
    "organizations._INSERT_ORGANIZATION": "makes the tenant",
    "projects._SELECT_OF_ALL": "the projects of a token that is not bound to an organization",
    "sessions._INSERT": "of the token that was presented just now, by its id",
    "sessions._LOCK": "the token that was presented just now, by its id",
    "tokens._NOTE_USE": "by the ids of tokens that have just been presented",
    "tokens._REVOKE": "`token revoke`, a command of the operator",
    "tokens._SELECT_ALL": "`token list`, a command of the operator",
    "tokens._SELECT_BY_HASHES": "whom a presented token speaks for; from here the tenant comes",
    "usage._ADD": "outcomes of all tenants, by the row ids of keys that relays report",
}


def _names_the_tenant(statement: Statement) -> bool:
    return _NAMES_IT.search(_OPTIONAL.sub("true", statement.words)) is not None


def test_every_statement_on_a_tenants_rows_names_the_tenant() -> None:
    """In its condition, or in the row that it inserts; a list of exceptions that is true to the last line."""
    touching = [
        one for one in statements() if _TOUCHES.search(one.words) and one.name.partition(".")[0] not in _OF_OPERATORS
    ]
    assert len(touching) > 30
    assert {one.name for one in touching if not _names_the_tenant(one)} == set(_WITHOUT)


@pytest.mark.parametrize(
    "text",
    [
        "SELECT key.label FROM project_key AS key WHERE key.public_key = $1",
        "SELECT key.label FROM project_key AS key WHERE ($1::bigint IS NULL OR key.organization_id = $1)",
        "DELETE FROM project WHERE id = $1",
        "UPDATE project SET organization_id = organization_id WHERE id = $1",
        "INSERT INTO project (slug) VALUES ($1)",
        "SELECT slug FROM project WHERE organization_id >= $1 AND organization_id <= $2",
        "SELECT slug FROM project WHERE (project.organization_id, project.id) <= ($1, $2)",
        "SELECT slug FROM project WHERE (x.organization_id, x.id) <= ($1, $2) AND (x.organization_id) >= ($2)",
        "SELECT slug FROM project WHERE (project.slug, project.id) <= ($1::text, $2) AND (project.slug) >= ($1)",
    ],
)
def test_a_statement_that_forgets_the_tenant_would_be_found(text: str) -> None:
    """The check can fail."""
    assert _TOUCHES.search(text)
    assert not _names_the_tenant(Statement("x", text))
