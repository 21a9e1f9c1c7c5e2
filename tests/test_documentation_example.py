"""The documented example: the response, the rows in Postgres and the record in Kafka."""

import re

import asyncpg
import orjson

from service.app import Service
from testkit.polling import poll_until
from tests.conftest import MakeApi
from tests.events import reading

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z")
_HEX = re.compile(r"[0-9a-f]{32}")


async def test_the_documented_request_gets_the_documented_response(
    publishing_service: Service, make_api: MakeApi
) -> None:
    """All members in the documented order, and all headers of the 2018 documentation."""
    api = await make_api(publishing_service)
    response = await api.create({"name": "Fabulous Key"})
    body = orjson.loads(await response.read())
    assert response.status == 201
    key, secret, number = body["public"], body["secret"], api.project.id
    assert _HEX.fullmatch(key)
    assert _HEX.fullmatch(secret)
    assert _TIME.fullmatch(body["dateCreated"])
    expected = {
        "id": key,
        "name": "Fabulous Key",
        "label": "Fabulous Key",
        "public": key,
        "secret": secret,
        "projectId": number,
        "isActive": True,
        "rateLimit": None,
        "dsn": {
            "secret": f"https://{key}:{secret}@sentry.io/{number}",
            "public": f"https://{key}@sentry.io/{number}",
            "csp": f"https://sentry.io/api/{number}/csp-report/?sentry_key={key}",
            "security": f"https://sentry.io/api/{number}/security/?sentry_key={key}",
            "minidump": f"https://sentry.io/api/{number}/minidump/?sentry_key={key}",
            "nel": f"https://sentry.io/api/{number}/nel/?sentry_key={key}",
            "unreal": f"https://sentry.io/api/{number}/unreal/{key}/",
            "crons": f"https://sentry.io/api/{number}/cron/___MONITOR_SLUG___/{key}/",
            "cdn": f"https://sentry.io/js-sdk-loader/{key}.min.js",
            "playstation": f"https://sentry.io/api/{number}/playstation/?sentry_key={key}",
            "integration": f"https://sentry.io/api/{number}/integration/",
            "otlp_traces": f"https://sentry.io/api/{number}/integration/otlp/v1/traces",
            "otlp_logs": f"https://sentry.io/api/{number}/integration/otlp/v1/logs",
        },
        "browserSdkVersion": "10.x",
        "browserSdk": {"choices": [["10.x", "10.x"], ["9.x", "9.x"], ["8.x", "8.x"], ["7.x", "7.x"]]},
        "dateCreated": body["dateCreated"],
        "dynamicSdkLoaderOptions": {
            "hasReplay": True,
            "hasPerformance": True,
            "hasDebug": False,
            "hasFeedback": False,
            "hasLogsAndMetrics": False,
        },
    }
    assert orjson.dumps(body) == orjson.dumps(expected), "the same members in the same order"
    documented = {
        "X-XSS-Protection": "1; mode=block",
        "Content-Language": "en",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Language, Cookie",
        "Allow": "GET, POST, HEAD, OPTIONS",
        "X-Frame-Options": "deny",
        "Content-Type": "application/json",
    }
    assert {name: response.headers[name] for name in documented} == documented


async def test_the_key_its_event_and_its_audit_entry_are_in_postgres(
    publishing_service: Service, make_api: MakeApi, postgres: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The row matches the response; the audit entry has action, target and request id, and no secret."""
    api = await make_api(publishing_service)
    body = await (await api.create({"name": "Fabulous Key"}, headers={"X-Request-Id": "r-1"})).json()
    row = await postgres.fetchrow(
        "SELECT label, secret_key, version FROM project_key WHERE public_key = $1", body["id"]
    )
    assert row is not None
    assert dict(row) == {"label": "Fabulous Key", "secret_key": body["secret"], "version": 1}
    entry = await postgres.fetchrow(
        "SELECT action, target, request_id, data::text FROM audit_entry WHERE target = $1", body["id"]
    )
    assert entry is not None
    assert (entry["action"], entry["request_id"]) == ("projectkey.create", "r-1")
    assert body["secret"] not in entry["data"]


async def test_the_event_in_kafka_is_complete_and_has_no_secret(
    publishing_service: Service, make_api: MakeApi, postgres: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """The record is a CloudEvent in binary mode; then the outbox becomes empty."""
    settings = publishing_service.settings
    async with reading(settings.kafka_bootstrap_servers[0], settings.kafka_topic) as reader:
        api = await make_api(publishing_service)
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        response = await api.create({"name": "Fabulous Key"}, headers={"X-Request-Id": "r-2", "traceparent": trace})
        body = await response.json()
        [record] = await reader.count(1)
    assert record.key == body["id"].encode()
    headers = {name: value.decode() for name, value in record.headers}
    assert headers.pop("ce_sequence").isdigit()
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": response.headers["Event-Id"],
        "ce_source": "/projectkeys",
        "ce_type": "projectkey.created",
        "ce_keyversion": "1",
        "ce_time": body["dateCreated"],
        "ce_subject": body["id"],
        "ce_dataschema": "urn:projectkeys:schema:projectkey.created:1",
        "ce_partitionkey": body["id"],
        "content-type": "application/json",
        "x-request-id": "r-2",
        "traceparent": trace,
    }
    assert orjson.loads(record.value) == {
        "keyId": await postgres.fetchval("SELECT id FROM project_key"),
        "id": body["id"],
        "version": 1,
        "organizationId": api.project.organization.id,
        "projectId": api.project.id,
        "name": "Fabulous Key",
        "isActive": True,
        "rateLimit": None,
        "dsn": {"public": body["dsn"]["public"]},
        "browserSdkVersion": "10.x",
        "dynamicSdkLoaderOptions": body["dynamicSdkLoaderOptions"],
        "dateCreated": body["dateCreated"],
        "expiresAt": None,
    }
    assert body["secret"].encode() not in record.value + b"".join(value for _, value in record.headers)
    await poll_until(lambda: postgres.fetchval("SELECT count(*) = 0 FROM outbox"))
