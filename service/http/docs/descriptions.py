"""The texts of the OpenAPI document: the introduction, and the descriptions of tags and members."""

from collections.abc import Mapping
from typing import Final

INTRODUCTION: Final = """\
Manages the client keys (DSNs) of projects; compatible with clients of Sentry's API. Each change of a key is \
published to Kafka: see [the events](docs/events).

- `{organization}` and `{project}` are each an id or a slug; digits alone are an id. `{key_id}` is the public key.
- Paths end with a slash. `HEAD` responds as `GET` without a body. `OPTIONS` lists the methods in `Allow` and needs \
no token; other methods result in 405 with `Allow`.
- A body is a JSON object or a form. A form names the members of nested objects with a dot (`rateLimit.count`). \
Bodies are sent uncompressed; unknown members are ignored. An empty body is `{}`.
- Requests are checked in this order: token (401), scope and organization (403), project (404, or a redirect if it \
was renamed), key (404), body.
- Bytes that are not valid HTTP result in 400; 503 with `Retry-After` means that the service is overloaded or cannot \
reach its database.
- A write is committed before its response is sent. A POST with an `Idempotency-Key` can be repeated and is executed \
once.
"""

TAGS: Final[Mapping[str, str]] = {
    "keys": "The client keys of a project.",
    "projects": "The projects of an organization.",
    "organizations": "Organizations and their audit log.",
}

_MEMBERS: Final[Mapping[str, str]] = {
    "id": "The numeric id, as text.",
    "slug": "The name in paths; never digits alone.",
    "name": "The display name, at most 64 characters, trimmed.",
    "dateCreated": "The time of creation, in UTC.",
    "organization": "The organization that owns the project.",
    "window": "Seconds. Zero, null or an empty text means no limit.",
    "count": "Events per window. Zero, null or an empty text means no limit.",
    "hasReplay": "Session replay.",
    "hasPerformance": "Tracing.",
    "hasDebug": "The debug build.",
    "hasFeedback": "The feedback widget.",
    "hasLogsAndMetrics": "Logs and metrics.",
    "ingestUrl": "The base URL of the organization's DSNs; null or an empty text means the service's default.",
    "rateLimit": "At most `count` events in each `window` of seconds; the ingest service enforces it.",
    "browserSdkVersion": "The version of the browser SDK that the loader loads.",
    "dynamicSdkLoaderOptions": "The features that the browser loader enables; absent options keep their value.",
    "isActive": "Whether the ingest service accepts data that is sent with the key.",
    "projectId": "The id of the project.",
    "detail": "The error, in a sentence.",
    "Key.id": "The public key.",
    "Key.label": "The name.",
    "Key.public": "The public half of the key, which DSNs contain.",
    "Key.secret": "The secret half of the key; only old clients use it.",
    "Key.rateLimit": "Null means no limit.",
    "Key.dsn": "The ingest endpoints of the key.",
    "Key.browserSdk": "The versions of the browser SDK that can be selected.",
    "Key.dynamicSdkLoaderOptions": "The features that the browser loader enables.",
    "RateLimit.window": "Seconds.",
    "RateLimit.count": "Events per window.",
    "BrowserSdk.choices": "Pairs of a value and its label.",
    "Dsn.secret": "The DSN of old clients; it contains the secret half.",
    "Dsn.public": "The DSN with which clients are configured.",
    "Dsn.csp": "Reports of a content security policy.",
    "Dsn.security": "Security reports of browsers.",
    "Dsn.minidump": "Minidumps.",
    "Dsn.nel": "Network error logs of browsers.",
    "Dsn.unreal": "Crash reports of Unreal Engine.",
    "Dsn.crons": "Check-ins of monitors; replace `___MONITOR_SLUG___`.",
    "Dsn.cdn": "The browser loader.",
    "Dsn.playstation": "Crash dumps of PlayStation.",
    "Dsn.integration": "The base URL of integrations.",
    "Dsn.otlp_traces": "OpenTelemetry traces.",
    "Dsn.otlp_logs": "OpenTelemetry logs.",
    "NewProjectKeyBody.name": "The display name, at most 64 characters; generated if it is absent, null or blank.",
    "NewProjectKeyBody.public": "The public half of the key; generated if it is absent or null.",
    "NewProjectKeyBody.secret": "The secret half of the key; generated if it is absent or null.",
    "NewProjectKeyBody.useCase": "Validated and ignored: all keys of this API are user keys.",
    "NewProjectBody.slug": "The name in paths; derived from `name` if it is absent.",
    "NewProjectBody.defaultKey": "Whether to create a first key, named `Default`.",
    "NewOrganizationBody.slug": "The name in paths; derived from `name` if it is absent.",
    "ProjectChangeBody.slug": "The new slug; requests with the previous slug are redirected.",
    "AuditPage.rows": "The entries.",
    "AuditPage.options": "The events that an entry can have.",
    "AuditEntry.id": "The id of the entry; later entries have greater ids.",
    "AuditEntry.event": "The change.",
    "AuditEntry.actor": "The token that made the change.",
    "AuditEntry.ipAddress": "The address of the client; null for the command line.",
    "AuditEntry.target": "The public key, slug or name of the changed resource.",
    "AuditEntry.projectId": "The id of the project; null if the change concerns none.",
    "AuditEntry.data": "The changed values, by member.",
    "AuditEntry.requestId": "The `X-Request-Id` of the request.",
    "AuditEntry.changeId": "The id of the event that announces the change, if there is one.",
    "Actor.id": "The id of the token; null for the command line.",
    "Actor.name": "The name of the token.",
    "Health.problems": "Always empty.",
    "Health.healthy": "Always empty.",
    "Redirect.slug": "The project's new slug.",
    "Redirect.detail": "The new URL, in the form that Sentry's clients read.",
    "RedirectDetail.extra": "The new URL and slug.",
    "RedirectTarget.url": "The path of the request with the new slug.",
    "RedirectTarget.slug": "The project's new slug.",
    "InternalError.errorId": "The id of the error in the log.",
}


def member_description(schema: str, member: str) -> str | None:
    """Return the description of the member of a schema, or None; ``schema`` is the name of the schema's class."""
    return _MEMBERS.get(f"{schema}.{member}") or _MEMBERS.get(member)
