"""The schemas of successful responses; a class's docstring is its description in the document.

The handlers write dictionaries; tests compare these with the schemas.
"""

from typing import Any, Final

from marshmallow import Schema, fields, validate

from service.domain.audit import ACTIONS
from service.domain.model import BROWSER_SDK_VERSIONS

_NUMBER: Final = validate.Regexp("^[0-9]+$")
_HEX32: Final = validate.Regexp("^[a-f0-9]{32}$")
_VERSIONS: Final = sorted(BROWSER_SDK_VERSIONS)


def _text(**options: Any) -> fields.String:
    return fields.String(required=True, **options)


def _timestamp(json_name: str) -> fields.String:
    return _text(data_key=json_name, metadata={"format": "date-time"})


def _boolean(json_name: str) -> fields.Boolean:
    return fields.Boolean(required=True, data_key=json_name)


class RateLimit(Schema):
    """At most `count` events in each `window` of seconds."""

    window = fields.Integer(required=True, strict=True, validate=validate.Range(min=1))
    count = fields.Integer(required=True, strict=True, validate=validate.Range(min=1))


class Dsn(Schema):
    """The ingest endpoints of a key, by the kind of data that clients send there."""

    secret = _text()
    public = _text()
    csp = _text()
    security = _text()
    minidump = _text()
    nel = _text()
    unreal = _text()
    crons = _text()
    cdn = _text()
    playstation = _text()
    integration = _text()
    otlp_traces = _text()
    otlp_logs = _text()


class BrowserSdk(Schema):
    """The versions of the browser SDK that a key can select."""

    choices = fields.List(fields.List(fields.String(), validate=validate.Length(equal=2)), required=True)


class LoaderOptions(Schema):
    """The features that the browser loader enables."""

    has_replay = _boolean("hasReplay")
    has_performance = _boolean("hasPerformance")
    has_debug = _boolean("hasDebug")
    has_feedback = _boolean("hasFeedback")
    has_logs_and_metrics = _boolean("hasLogsAndMetrics")


class Key(Schema):
    """A client key of a project."""

    id = _text(validate=_HEX32)
    name = _text()
    label = _text()
    public = _text(validate=_HEX32)
    secret = _text(validate=_HEX32)
    project_id = fields.Integer(required=True, strict=True, data_key="projectId")
    is_active = _boolean("isActive")
    rate_limit = fields.Nested(RateLimit, required=True, allow_none=True, data_key="rateLimit")
    dsn = fields.Nested(Dsn, required=True)
    browser_sdk_version = _text(data_key="browserSdkVersion", validate=validate.OneOf(_VERSIONS))
    browser_sdk = fields.Nested(BrowserSdk, required=True, data_key="browserSdk")
    date_created = _timestamp("dateCreated")
    loader_options = fields.Nested(LoaderOptions, required=True, data_key="dynamicSdkLoaderOptions")


class Organization(Schema):
    """An organization, which owns projects."""

    id = _text(validate=_NUMBER)
    slug = _text()
    name = _text()
    date_created = _timestamp("dateCreated")
    ingest_url = fields.String(required=True, allow_none=True, data_key="ingestUrl")


class Project(Schema):
    """A project, which owns keys."""

    id = _text(validate=_NUMBER)
    slug = _text()
    name = _text()
    date_created = _timestamp("dateCreated")
    organization = fields.Nested(Organization, required=True)


class Actor(Schema):
    """The token that made a change; the id is null if the command line made it."""

    id = fields.String(required=True, allow_none=True, validate=_NUMBER)
    name = fields.String(required=True, allow_none=True)


class AuditEntry(Schema):
    """A change: who made it, when, from where, and what changed. It contains no secret."""

    id = _text(validate=_NUMBER)
    event = _text(validate=validate.OneOf(ACTIONS))
    actor = fields.Nested(Actor, required=True)
    date_created = _timestamp("dateCreated")
    ip_address = fields.String(required=True, allow_none=True, data_key="ipAddress")
    target = _text()
    project_id = fields.Integer(required=True, strict=True, allow_none=True, data_key="projectId")
    data = fields.Dict(required=True, keys=fields.String())
    request_id = _text(data_key="requestId")
    change_id = _text(data_key="changeId", metadata={"format": "uuid"})


class AuditPage(Schema):
    """A page of audit entries, newest first, and the events that an entry can have."""

    rows = fields.List(fields.Nested(AuditEntry), required=True)
    options = fields.List(fields.String(), required=True)


class Health(Schema):
    """The response to a valid token; both members are always empty."""

    problems = fields.List(fields.Dict(), required=True)
    healthy = fields.Dict(required=True)
