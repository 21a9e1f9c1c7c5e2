"""What is answered, as schemas: they document the dictionaries that handlers write; tests hold both together."""

from typing import Any, Final

from marshmallow import Schema, fields, validate

from service.domain.audit import ACTIONS
from service.domain.model import BROWSER_SDK_VERSIONS

_NUMBER: Final = validate.Regexp("^[0-9]+$")
_HEX32: Final = validate.Regexp("^[a-f0-9]{32}$")
_VERSIONS: Final = sorted(BROWSER_SDK_VERSIONS)


def _text(**options: Any) -> fields.String:
    return fields.String(required=True, **options)


def _moment(wire_name: str) -> fields.String:
    return _text(data_key=wire_name, metadata={"format": "date-time"})


def _switch(wire_name: str) -> fields.Boolean:
    return fields.Boolean(required=True, data_key=wire_name)


class RateLimitAnswer(Schema):
    """A limit of a key."""

    window = fields.Integer(required=True, strict=True, validate=validate.Range(min=1))
    count = fields.Integer(required=True, strict=True, validate=validate.Range(min=1))

    class Meta:
        """Marshmallow's options."""

        description = "At most `count` events in each `window` of seconds."


class DsnAnswer(Schema):
    """The addresses of a key."""

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

    class Meta:
        """Marshmallow's options."""

        description = "Where clients send what they have, by what it is."


class BrowserSdkAnswer(Schema):
    """The versions to choose from."""

    choices = fields.List(fields.List(fields.String(), validate=validate.Length(equal=2)), required=True)

    class Meta:
        """Marshmallow's options."""

        description = "The versions of the browser SDK that are offered."


class LoaderOptionsAnswer(Schema):
    """The switches of the browser loader."""

    has_replay = _switch("hasReplay")
    has_performance = _switch("hasPerformance")
    has_debug = _switch("hasDebug")
    has_feedback = _switch("hasFeedback")
    has_logs_and_metrics = _switch("hasLogsAndMetrics")

    class Meta:
        """Marshmallow's options."""

        description = "What the browser loader loads."


class KeyAnswer(Schema):
    """A key: its 13 members."""

    id = _text(validate=_HEX32)
    name = _text()
    label = _text()
    public = _text(validate=_HEX32)
    secret = _text(validate=_HEX32)
    project_id = fields.Integer(required=True, strict=True, data_key="projectId")
    is_active = _switch("isActive")
    rate_limit = fields.Nested(RateLimitAnswer, required=True, allow_none=True, data_key="rateLimit")
    dsn = fields.Nested(DsnAnswer, required=True)
    browser_sdk_version = _text(data_key="browserSdkVersion", validate=validate.OneOf(_VERSIONS))
    browser_sdk = fields.Nested(BrowserSdkAnswer, required=True, data_key="browserSdk")
    date_created = _moment("dateCreated")
    loader_options = fields.Nested(LoaderOptionsAnswer, required=True, data_key="dynamicSdkLoaderOptions")

    class Meta:
        """Marshmallow's options."""

        description = "A client key of a project."


class OrganizationAnswer(Schema):
    """An organization."""

    id = _text(validate=_NUMBER)
    slug = _text()
    name = _text()
    date_created = _moment("dateCreated")
    ingest_url = fields.String(required=True, allow_none=True, data_key="ingestUrl")

    class Meta:
        """Marshmallow's options."""

        description = "An organization: the owner of projects."


class ProjectAnswer(Schema):
    """A project."""

    id = _text(validate=_NUMBER)
    slug = _text()
    name = _text()
    date_created = _moment("dateCreated")
    organization = fields.Nested(OrganizationAnswer, required=True)

    class Meta:
        """Marshmallow's options."""

        description = "A project: what keys are issued for."


class ActorAnswer(Schema):
    """Who did something."""

    id = fields.String(required=True, allow_none=True, validate=_NUMBER)
    name = fields.String(required=True, allow_none=True)

    class Meta:
        """Marshmallow's options."""

        description = "The token that a change was made with; without an id it is the command line."


class AuditEntryAnswer(Schema):
    """An entry of the audit."""

    id = _text(validate=_NUMBER)
    event = _text(validate=validate.OneOf(ACTIONS))
    actor = fields.Nested(ActorAnswer, required=True)
    date_created = _moment("dateCreated")
    ip_address = fields.String(required=True, allow_none=True, data_key="ipAddress")
    target = _text()
    project_id = fields.Integer(required=True, strict=True, allow_none=True, data_key="projectId")
    data = fields.Dict(required=True, keys=fields.String())
    request_id = _text(data_key="requestId")
    change_id = _text(data_key="changeId", metadata={"format": "uuid"})

    class Meta:
        """Marshmallow's options."""

        description = "One change: who, when, from where, what. Never a secret."


class AuditAnswer(Schema):
    """A page of the audit."""

    rows = fields.List(fields.Nested(AuditEntryAnswer), required=True)
    options = fields.List(fields.String(), required=True)

    class Meta:
        """Marshmallow's options."""

        description = "A page of entries, the newest first, and the events that there are."


class HealthAnswer(Schema):
    """The service's health, as far as callers are told."""

    problems = fields.List(fields.Dict(), required=True)
    healthy = fields.Dict(required=True)

    class Meta:
        """Marshmallow's options."""

        description = "That the token is known; nothing else is told."
