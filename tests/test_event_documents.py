"""The AsyncAPI document and its page: valid, equal to the schemas, without authentication and without scripts."""

import gzip
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from service.contract.asyncapi import asyncapi_document
from service.domain.events import SHARDS, EventType
from service.http.docs.asyncapi_page import CONTENT_SECURITY_POLICY, DOCUMENT, PAGE, SCHEMAS, asyncapi_page
from service.kafka.topic import TOPIC_CONFIG
from testkit.event_schemas import EventSchema, event_schemas
from tests.asyncapi_page import FILE, generated_page
from tests.http_service import COMMON_HEADERS, Site

_OFFICIAL = Path(__file__).parent / "asyncapi" / "3.0.0.json.gz"
_CONTROL_RECORDS = {"fence", "heartbeat"}
_CONTROL_HEADERS = {"ce_specversion", "ce_id", "ce_source", "ce_type", "ce_time"}
_HEADERS = event_schemas()["headers.1"]
_EVENTS = [schema for schema in event_schemas().values() if schema is not _HEADERS]


def _document() -> dict[str, Any]:
    return asyncapi_document("project-keys")


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    """Return a validator with AsyncAPI's official schema."""
    return Draft7Validator(json.loads(gzip.decompress(_OFFICIAL.read_bytes())))


def test_the_document_is_valid_asyncapi(official: Draft7Validator) -> None:
    """By the official schema, including Kafka's bindings."""
    official.validate(_document())


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("asyncapi",), "2.6.0"),
        (("channels", "project-keys", "bindings", "kafka", "partitions"), "12"),
        (("operations", "publishKeyEvents", "action"), "publish"),
        (("components", "messages", "tombstone", "payload"), {"type": "nothing"}),
    ],
)
def test_the_official_schema_rejects_a_wrong_document(
    official: Draft7Validator, path: tuple[str, ...], wrong: Any
) -> None:
    """It checks every part of the document."""
    document = _document()
    target = document
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = wrong
    assert not official.is_valid(document)


def test_the_document_has_every_kind_of_record() -> None:
    """Each event, the tombstone and the control records, all on the one channel."""
    document = _document()
    messages = set(document["components"]["messages"])
    assert messages == {*EventType, "tombstone", *_CONTROL_RECORDS}
    [channel] = document["channels"].values()
    assert set(channel["messages"]) == messages
    assert channel["bindings"]["kafka"]["partitions"] == SHARDS
    config = channel["bindings"]["kafka"]["topicConfiguration"]
    assert config["cleanup.policy"] == ["compact"]
    assert {name: str(value) for name, value in config.items() if name != "cleanup.policy"} == {
        name: value for name, value in TOPIC_CONFIG.items() if name != "cleanup.policy"
    }
    assert {
        message["$ref"].rpartition("/")[2] for message in document["operations"]["publishKeyEvents"]["messages"]
    } == messages


@pytest.mark.parametrize("schema", _EVENTS, ids=lambda schema: schema.type)
def test_a_message_has_the_schema_and_the_example_of_its_event(schema: EventSchema) -> None:
    """Without the keywords that only a separate document has."""
    document = _document()
    message = document["components"]["messages"][schema.type]
    [example] = message["examples"]
    assert message["payload"] == {"$ref": f"#/components/schemas/{schema.name}"}
    assert document["components"]["schemas"][schema.name] == _embedded(schema.schema)
    assert (example["payload"], message["description"]) == (schema.example, schema.schema["description"])
    assert message["bindings"]["kafka"]["key"]["pattern"] == schema.schema["properties"]["id"]["pattern"]
    assert example["headers"] == _HEADERS.example | {
        "ce_type": schema.type,
        "ce_dataschema": schema.urn,
        "ce_keyversion": str(schema.example["version"]),
    }
    assert message["headers"]["properties"]["ce_dataschema"]["const"] == schema.urn


def _embedded(schema: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name not in {"$schema", "$id"}}


def test_a_message_has_the_headers_of_the_schema_file() -> None:
    """Of one type, and its example is valid; control records have some of the headers, events with a value all."""
    expected = _embedded(_HEADERS.schema)
    for name, message in _document()["components"]["messages"].items():
        headers = dict(message["headers"])
        properties, required = headers.pop("properties"), set(headers.pop("required"))
        assert headers == {key: expected[key] for key in expected if key not in {"properties", "required"}}
        for header, schema in properties.items():
            constant = (
                {"const": schema["const"]} if header in {"ce_type", "ce_dataschema"} and "const" in schema else {}
            )
            assert schema == expected["properties"][header] | constant
        is_control_record = name in _CONTROL_RECORDS
        assert set(properties) == (required if is_control_record else set(expected["properties"]))
        assert required >= (_CONTROL_HEADERS if is_control_record else set(expected["required"]))
        for example in message["examples"]:
            Draft202012Validator(message["headers"]).validate(example["headers"])
            assert example["headers"]["ce_type"] == properties["ce_type"]["const"]


def test_a_tombstone_has_its_type_and_version_in_the_headers() -> None:
    """It has no value."""
    tombstone = _document()["components"]["messages"]["tombstone"]
    assert tombstone["payload"]["type"] == "null"
    [example] = tombstone["examples"]
    assert "payload" not in example
    assert {"ce_type", "ce_keyversion"} <= set(tombstone["headers"]["required"])
    assert tombstone["headers"]["properties"]["ce_type"]["const"] == EventType.DELETED


@pytest.mark.parametrize("name", sorted(_CONTROL_RECORDS))
def test_the_key_of_a_control_record_begins_with_an_underscore(name: str) -> None:
    """No public key does."""
    message = _document()["components"]["messages"][name]
    assert message["bindings"]["kafka"]["key"]["const"] == f"_{name}"
    assert message["headers"]["properties"]["ce_type"]["const"] == f"projectkeys.{name}"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        (DOCUMENT, "application/json"),
        (PAGE, "text/html; charset=utf-8"),
        ("/docs/events.css", "text/css; charset=utf-8"),
        *((f"{SCHEMAS}/{name}.json", "application/schema+json") for name in event_schemas()),
    ],
)
async def test_the_documents_need_no_token(site: Site, path: str, content_type: str) -> None:
    """The response has the common headers and an ETag for a 304; only GET, HEAD and OPTIONS are allowed."""
    response = await site.send("GET", path, token="")
    assert (response.status, response.headers["Content-Type"]) == (200, content_type)
    assert {name: response.headers.get(name) for name in COMMON_HEADERS if name != "Cache-Control"} == {
        name: value for name, value in COMMON_HEADERS.items() if name != "Cache-Control"
    }
    assert (await site.send("GET", path, token="")).raw == response.raw
    etag = {"If-None-Match": response.headers["ETag"]}
    assert (await site.send("GET", path, token="", headers=etag)).status == 304
    head = await site.send("HEAD", path, token="")
    assert (head.status, head.raw, head.headers["Content-Length"]) == (200, b"", str(len(response.raw)))
    rejected = await site.send("POST", path, token="")
    assert (rejected.status, rejected.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await site.send("OPTIONS", path, token="")).status == 200


@pytest.mark.parametrize("event_schema", event_schemas().values(), ids=lambda each: each.name)
async def test_the_urn_of_a_schema_leads_to_its_url(site: Site, event_schema: EventSchema) -> None:
    """The header ``ce_dataschema`` has a URN, which no program can request."""
    kind, major = event_schema.urn.removeprefix("urn:projectkeys:schema:").split(":")
    response = await site.send("GET", f"{SCHEMAS}/{kind}.{major}.json", token="")
    assert json.loads(response.raw) == event_schema.schema


async def test_the_document_names_the_topic_and_no_server(site: Site) -> None:
    """It contains no addresses and no passwords."""
    response = await site.send("GET", DOCUMENT, token="")
    settings = site.service.settings
    assert response.body["channels"]["project-keys"]["address"] == settings.kafka_topic
    assert "servers" not in response.body
    for secret in (*settings.kafka_bootstrap_servers, settings.database_url, site.token, "127.0.0.1"):
        assert secret.encode() not in response.raw


class _Tags(HTMLParser):
    """Collects what a page loads, its inline scripts and styles, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.inline: list[str] = []
        self.texts: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the resources and inline code of an element."""
        attributes = dict(attrs)
        if tag in {"script", "style", "iframe", "object", "img"}:
            self.inline.append(tag)
        self.inline += [name for name in attributes if name.startswith("on") or name == "style"]
        if tag == "link":
            self.loads.append(attributes["href"] or "")

    def handle_data(self, data: str) -> None:
        """Record the text between two tags."""
        self.texts.add(data)


async def test_the_page_has_a_strict_policy_and_shows_the_whole_document(site: Site) -> None:
    """One style sheet of the service, no script, nothing inline; all messages, headers and members."""
    response = await site.send("GET", PAGE, token="")
    policy = response.headers["Content-Security-Policy"]
    assert policy == CONTENT_SECURITY_POLICY
    assert policy.startswith("default-src 'none'; style-src 'self';")
    tags = _Tags()
    tags.feed(response.raw.decode())
    assert ([urljoin(PAGE, url) for url in tags.loads], tags.inline) == (
        ["/docs/icon.svg", "/docs/header.css", "/docs/events.css"],
        [],
    )
    document = (await site.send("GET", DOCUMENT, token="")).body
    for name, message in document["components"]["messages"].items():
        assert {name, *message["headers"]["properties"]} <= tags.texts
    assert {"Name", "Type", "Required", "Description", "Download AsyncAPI (JSON)"} <= tags.texts
    assert {"rateLimit.window", "dsn.public", "dynamicSdkLoaderOptions.hasReplay"} <= tags.texts


def test_the_page_is_that_of_the_document() -> None:
    """`python -m tests.asyncapi_page` generates it."""
    assert generated_page() == FILE.read_text()


def test_the_page_escapes_the_name_of_the_topic() -> None:
    """An operator chooses it."""
    name = "<script>alert(1)</script>"
    html = asyncapi_page(name)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
