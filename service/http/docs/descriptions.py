"""The words of the document: what the API is, and what each member of a body or an answer means."""

from collections.abc import Mapping
from typing import Final

INTRODUCTION: Final = """\
Issues client keys (DSNs) for projects, in the form that Sentry's clients speak. Each change of a key is told on \
Kafka: see [the events](/docs/events).

- `{organization}` and `{project}` are each an id or a slug; only digits are an id. `{key_id}` is the public key.
- Paths end with a slash. `HEAD` answers as `GET` without a body, `OPTIONS` names the methods in `Allow` and needs \
no token; other methods are 405 with `Allow`.
- A body is a JSON object, or a form whose members of members have a dot in their names (`rateLimit.count`). It is \
sent uncompressed; members that nobody knows are ignored. An empty body is `{}`.
- Checks come in this order: token (401), scope and organization (403), project (404, or a redirect if it was \
renamed), key (404), and only then the body.
- Bytes that are no HTTP are 400; a service that is busy or cannot reach its database is 503 with `Retry-After`.
- A write that was answered is committed. With an `Idempotency-Key` a POST can be sent again and happens once.
"""

TAGS: Final[Mapping[str, str]] = {
    "keys": "The client keys of a project.",
    "projects": "What keys are issued for.",
    "organizations": "The owners of projects, and what was changed in them.",
}

_MEMBERS: Final[Mapping[str, str]] = {
    "id": "The number that stands for it in paths, as text.",
    "slug": "What stands for it in paths; never digits alone.",
    "name": "What people call it, at most 64 characters, trimmed.",
    "dateCreated": "When it was made, in UTC.",
    "organization": "The organization that it belongs to.",
    "window": "Seconds. Zero, null or an empty text is no limit.",
    "count": "Events in each window. Zero, null or an empty text is no limit.",
    "hasReplay": "Session replay.",
    "hasPerformance": "Tracing.",
    "hasDebug": "The debug build.",
    "hasFeedback": "The feedback widget.",
    "hasLogsAndMetrics": "Logs and metrics.",
    "ingestUrl": "The base of its keys' DSNs, in place of the installation's; null or an empty text is none.",
    "rateLimit": "At most `count` events in each `window` of seconds, enforced where events are taken in.",
    "browserSdkVersion": "The version of the browser SDK that the loader loads.",
    "dynamicSdkLoaderOptions": "What the browser loader loads; what is not named stays, or is as by default.",
    "isActive": "Whether what is sent with the key is accepted.",
    "projectId": "The id of the project.",
    "detail": "What is wrong, in a sentence.",
    "KeyAnswer.id": "The public key.",
    "KeyAnswer.label": "The name.",
    "KeyAnswer.public": "The public half, which DSNs carry.",
    "KeyAnswer.secret": "The secret half: of old clients alone.",
    "KeyAnswer.rateLimit": "Null is no limit.",
    "KeyAnswer.dsn": "Where clients send what they have.",
    "KeyAnswer.browserSdk": "The versions to choose from.",
    "KeyAnswer.dynamicSdkLoaderOptions": "What the browser loader loads.",
    "RateLimitAnswer.window": "Seconds.",
    "RateLimitAnswer.count": "Events in each window.",
    "BrowserSdkAnswer.choices": "Each as its value and its name.",
    "DsnAnswer.secret": "The DSN of old clients, with the secret half.",
    "DsnAnswer.public": "The DSN that clients are configured with.",
    "DsnAnswer.csp": "Reports of a content security policy.",
    "DsnAnswer.security": "Security reports of browsers.",
    "DsnAnswer.minidump": "Minidumps.",
    "DsnAnswer.nel": "Network error logs of browsers.",
    "DsnAnswer.unreal": "Crash reports of Unreal Engine.",
    "DsnAnswer.crons": "Check-ins of monitors; `___MONITOR_SLUG___` is to be replaced.",
    "DsnAnswer.cdn": "The browser loader.",
    "DsnAnswer.playstation": "Crash dumps of PlayStation.",
    "DsnAnswer.integration": "The base of integrations.",
    "DsnAnswer.otlp_traces": "OpenTelemetry traces.",
    "DsnAnswer.otlp_logs": "OpenTelemetry logs.",
    "NewProjectKeyBody.name": "What people call it, at most 64 characters; if it says nothing, one is chosen.",
    "NewProjectKeyBody.public": "A public half of one's own; chosen if it is null.",
    "NewProjectKeyBody.secret": "A secret half of one's own; chosen if it is null.",
    "NewProjectKeyBody.useCase": "Checked and not honoured: the keys of this API are users' keys.",
    "NewProjectBody.slug": "What stands for it in paths; without it a name with a Latin letter makes one.",
    "NewProjectBody.defaultKey": "Whether the project gets a first key, named `Default`.",
    "NewOrganizationBody.slug": "What stands for it in paths; without it a name with a Latin letter makes one.",
    "ProjectChangeBody.slug": "The new slug; the former one leads to it from then on.",
    "AuditAnswer.rows": "The entries.",
    "AuditAnswer.options": "The events that there are.",
    "AuditEntryAnswer.id": "Entries made later have greater ones.",
    "AuditEntryAnswer.event": "What happened.",
    "AuditEntryAnswer.actor": "Who did it.",
    "AuditEntryAnswer.ipAddress": "Where it came from; null for the command line.",
    "AuditEntryAnswer.target": "The public key, slug or name of what was changed.",
    "AuditEntryAnswer.projectId": "The id of the project, where it was in one.",
    "AuditEntryAnswer.data": "What was changed, by the member.",
    "AuditEntryAnswer.requestId": "The `X-Request-Id` of the request.",
    "AuditEntryAnswer.changeId": "The id of the event that told of it, where one did.",
    "ActorAnswer.id": "The id of the token; null for the command line.",
    "ActorAnswer.name": "The name of the token.",
    "HealthAnswer.problems": "None are told.",
    "HealthAnswer.healthy": "Nothing is told.",
    "MovedAnswer.slug": "The slug that the project has now.",
    "MovedAnswer.detail": "Where it is.",
    "MovedDetailAnswer.extra": "Where it is.",
    "MovedExtraAnswer.url": "The path of the same request with the new slug.",
    "MovedExtraAnswer.slug": "The slug that the project has now.",
    "InternalErrorAnswer.errorId": "The id under which the log has the cause.",
}


def member_text(schema: str, member: str) -> str | None:
    """What a member of a schema means."""
    return _MEMBERS.get(f"{schema}.{member}") or _MEMBERS.get(member)
