"""The AsyncAPI document and its page: valid, true, open to all, and harmless."""

import gzip
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from service.contract.asyncapi import Topic, asyncapi_document
from service.contract.catalogue import described
from service.domain.events import EventType
from service.domain.partitioning import SHARDS
from service.http.docs.asyncapi_document import CONTENT_SECURITY_POLICY, DOCUMENT, PAGE
from service.http.docs.asyncapi_page import event_page
from service.kafka.topic import TOPIC_CONFIG
from tests.http_service import COMMON_HEADERS, Site

_OFFICIAL = Path(__file__).parent / "asyncapi" / "3.0.0.json.gz"
_MARKS = {"fence", "heartbeat"}


def _document() -> dict[str, Any]:
    return asyncapi_document(Topic("project-keys", SHARDS, TOPIC_CONFIG), version="1.2.3")


@pytest.fixture(scope="module")
def official() -> Draft7Validator:
    """What AsyncAPI itself says a document is."""
    return Draft7Validator(json.loads(gzip.decompress(_OFFICIAL.read_bytes())))


def test_the_document_is_asyncapi(official: Draft7Validator) -> None:
    """By the official schema, Kafka's bindings included."""
    official.validate(_document())


@pytest.mark.parametrize(
    ("path", "wrong"),
    [
        (("asyncapi",), "2.6.0"),
        (("channels", "project-keys", "bindings", "kafka", "partitions"), "12"),
        (("operations", "tell", "action"), "publish"),
        (("components", "messages", "tombstone", "payload"), {"type": "nothing"}),
    ],
)
def test_a_document_that_is_wrong_anywhere_is_found(
    official: Draft7Validator, path: tuple[str, ...], wrong: Any
) -> None:
    """The official schema looks into every part that we fill."""
    document = _document()
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = wrong
    assert not official.is_valid(document)


def test_the_document_tells_of_every_record() -> None:
    """Each event, the tombstone, and the service's own marks; each can be sent on the one channel."""
    document = _document()
    messages = set(document["components"]["messages"])
    assert messages == {*EventType, "tombstone", *_MARKS}
    [channel] = document["channels"].values()
    assert set(channel["messages"]) == messages
    assert channel["bindings"]["kafka"]["partitions"] == SHARDS
    config = channel["bindings"]["kafka"]["topicConfiguration"]
    assert config["cleanup.policy"] == ["compact"]
    assert {name: str(value) for name, value in config.items() if name != "cleanup.policy"} == {
        name: value for name, value in TOPIC_CONFIG.items() if name != "cleanup.policy"
    }
    assert {one["$ref"].rpartition("/")[2] for one in document["operations"]["tell"]["messages"]} == messages


def test_a_message_is_what_its_schema_file_says() -> None:
    """The document is made of the files; its examples are valid by its own schemas."""
    document = _document()
    for name, message in document["components"]["messages"].items():
        for example in message["examples"]:
            Draft202012Validator(message["headers"]).validate(example["headers"])
            assert example["headers"]["ce_type"] == message["headers"]["properties"]["ce_type"]["const"]
            if name != "tombstone":
                reference = message["payload"]["$ref"].rpartition("/")[2]
                schema = document["components"]["schemas"][reference]
                Draft202012Validator(schema).validate(example["payload"])
                assert example["headers"]["ce_dataschema"] == described()[reference].urn
                assert schema["properties"] == described()[reference].schema["properties"]


def test_a_tombstone_is_told_by_its_headers_alone() -> None:
    """It has no value; the type and the version stand in the envelope."""
    tombstone = _document()["components"]["messages"]["tombstone"]
    assert tombstone["payload"]["type"] == "null"
    [example] = tombstone["examples"]
    assert "payload" not in example
    assert {"ce_type", "ce_keyversion"} <= set(tombstone["headers"]["required"])
    assert tombstone["headers"]["properties"]["ce_type"]["const"] == EventType.DELETED


@pytest.mark.parametrize("name", _MARKS)
def test_the_services_own_records_are_told_apart_by_their_keys(name: str) -> None:
    """Their keys begin with an underline, which no public key does."""
    mark = _document()["components"]["messages"][name]
    assert mark["bindings"]["kafka"]["key"]["const"] == f"_{name}"
    assert mark["headers"]["properties"]["ce_type"]["const"] == f"projectkeys.{name}"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        (DOCUMENT, "application/json"),
        (PAGE, "text/html; charset=utf-8"),
        ("/docs/events.css", "text/css; charset=utf-8"),
    ],
)
async def test_whoever_asks_gets_the_documents(site: Site, path: str, content_type: str) -> None:
    """Without a token, with the headers of every answer; the same bytes each time, and 304 for who has them."""
    answer = await site.send("GET", path, token="")
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    assert {name: answer.headers.get(name) for name in COMMON_HEADERS if name != "Cache-Control"} == {
        name: value for name, value in COMMON_HEADERS.items() if name != "Cache-Control"
    }
    assert (await site.send("GET", path, token="")).raw == answer.raw
    known = {"If-None-Match": answer.headers["ETag"]}
    assert (await site.send("GET", path, token="", headers=known)).status == 304
    head = await site.send("HEAD", path, token="")
    assert (head.status, head.raw, head.headers["Content-Length"]) == (200, b"", str(len(answer.raw)))
    refused = await site.send("POST", path, token="")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (await site.send("OPTIONS", path, token="")).status == 200


async def test_the_document_is_of_this_service_and_tells_no_secret(site: Site) -> None:
    """The topic is the one in the settings; addresses and passwords of servers are nobody's business."""
    answer = await site.send("GET", DOCUMENT, token="")
    settings = site.service.settings
    assert answer.body["channels"]["project-keys"]["address"] == settings.kafka_topic
    assert "servers" not in answer.body
    for secret in (*settings.kafka_bootstrap_servers, settings.database_url, site.token, "127.0.0.1"):
        assert secret.encode() not in answer.raw


class _Tags(HTMLParser):
    """What a page would load, run or be styled by."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.runs: list[str] = []
        self.texts: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sort an element."""
        given = dict(attrs)
        if tag in {"script", "style", "iframe", "object", "img"}:
            self.runs.append(tag)
        self.runs += [name for name in given if name.startswith("on") or name == "style"]
        if tag == "link":
            self.loads.append(given["href"] or "")

    def handle_data(self, data: str) -> None:
        """Keep a text between two tags."""
        self.texts.add(data)


async def test_the_page_lives_under_a_strict_policy(site: Site) -> None:
    """One style sheet of our own, no script, nothing inline; and everything that the document tells."""
    answer = await site.send("GET", PAGE, token="")
    policy = answer.headers["Content-Security-Policy"]
    assert policy == CONTENT_SECURITY_POLICY
    assert policy.startswith("default-src 'none'; style-src 'self';")
    tags = _Tags()
    tags.feed(answer.raw.decode())
    assert (tags.loads, tags.runs) == (["/docs/events.css"], [])
    document = (await site.send("GET", DOCUMENT, token="")).body
    for name, message in document["components"]["messages"].items():
        assert {name, *message["headers"]["properties"]} <= tags.texts
    assert {"rateLimit.window", "dsn.public", "dynamicSdkLoaderOptions.hasReplay"} <= tags.texts


def test_nothing_in_the_document_can_become_markup() -> None:
    """Whatever an operator calls the topic, it is text."""
    name = "<script>alert(1)</script>"
    html = event_page(
        asyncapi_document(Topic(name, SHARDS, TOPIC_CONFIG), version="<b>"),
        document_path=DOCUMENT,
        style_path="/x.css",
    )
    assert "<script" not in html
    assert "<b>" not in html
    assert "&lt;script&gt;" in html
