"""Every statement on what belongs to a tenant names the tenant; the others are listed, each with its reason."""

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
"""A condition that whoever passes NULL does not have."""

_NAMES_IT = re.compile(
    r"(?:organization_id|organization\.id|^UPDATE organization SET [\w$, =]+ WHERE id) ="
    r" (?:\$\d|coalesce\(\$1|asked\.|wanted\.)"
    r"|organization_id >= (\$\d) AND organization_id <= \1"
    r"|\((?P<columns>(?:\w+\.\w+, )?\w+\.organization_id), \w+\.id\) (?:<=|>)"
    r" \((?P<values>(?:\$\d::\w+, )?\$\d), [^)]+\) AND \(?(?P=columns)\)? [<>]= \(?(?P=values)(?!\d)"
    r"|INSERT INTO \w+ \([^)]*\borganization_id\b"
)
"""An equation, a range of one value (which an index can be read along), or a column of the new row."""

_OF_OPERATORS = {
    "job_states": "`events jobs` and the like: what a job of the operator's has done",
    "parked": "`events parked`",
    "full_scan": "`events reconcile` compares everything with the topic",
}
"""Modules that nobody reaches by HTTP."""

_WITHOUT = {
    "audit._OF_ALL": "`audit list`, which only whoever runs the service can call",
    "changed._RAISE": "of keys that were locked just now: an organization's own, or those of a replay",
    "deleted._LAST_LOOKED_AT": "where the next batch of a replay begins; gives a place, no content",
    "deleted._LOCK": "whose a public key was: the caller compares the owner and tells others that it is taken",
    "deleted._LOCK_BETWEEN": "a replay by command, of all tenants or of one",
    "deleted._LOCK_NAMED": "a replay by command, of keys by their names",
    "deleted._RAISE": "of what a replay has locked just now",
    "keys._SELECT_STANDING": "keys are unique over all tenants; tells whether one is taken, not whose it is",
    "locked._LAST_LOOKED_AT": "where the next batch of a replay begins; gives a place, no content",
    "locked._LOCK_BETWEEN": "a replay by command, of all tenants or of one",
    "locked._LOCK_NAMED": "a replay by command, of keys by their names",
    "locked._SELECT_LOCKED": "what those locks hold, and what an organization's own change has locked",
    "organizations._INSERT_ORGANIZATION": "makes the tenant",
    "tokens._NOTE_USE": "by the ids of tokens that have just been presented",
    "tokens._REVOKE": "`token revoke`, which only whoever runs the service can call",
    "tokens._SELECT_ALL": "`token list`, which only whoever runs the service can call",
    "tokens._SELECT_BY_HASHES": "whom a presented token speaks for; from here the tenant comes",
}


def _names_the_tenant(statement: Statement) -> bool:
    return _NAMES_IT.search(_OPTIONAL.sub("true", statement.words)) is not None


def test_every_statement_on_a_tenants_rows_names_the_tenant() -> None:
    """In its condition, or in the row that it inserts; a list of exceptions that is true to the last line."""
    touching = [
        one
        for one in statements()
        if _TOUCHES.search(one.words) and one.name.partition(".")[0] not in _OF_OPERATORS
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
