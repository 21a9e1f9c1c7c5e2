"""The edge as the upstream of relays: registration, known relays, and the endpoints other than configurations."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from service.edge.process import build_edge
from service.environment import SettingsError
from testkit.polling import poll_until
from tests.edge_site import RELAYS, EdgeSite, SigningRelay, edge_settings, open_edge
from tests.kafka_harness import new_topic, read_log

RELAY = SigningRelay()
STRANGER = SigningRelay()


@pytest.fixture(scope="module")
async def edge(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeSite]:
    """An edge that knows one relay."""
    outcomes = await new_topic(kafka_bootstrap, partitions=1)
    async with open_edge(
        kafka_bootstrap, relays=[RELAY], directory=tmp_path_factory.mktemp("edge"), outcomes_topic=outcomes
    ) as opened:
        yield opened


async def test_a_known_relay_registers_and_receives_the_global_configuration(edge: EdgeSite) -> None:
    """Without it, no envelope ever leaves the relay."""
    assert await RELAY.register(edge) == 200
    answer = await RELAY.configs(edge, [], **{"global": True})
    assert answer == {"configs": {}, "pending": [], "unchanged": [], "global": {}, "globalStatus": "ready"}
    assert f'projectkeys_edge_relay_last_request_seconds{{relay="{RELAY.id}"}}' in edge.metrics


async def test_a_relay_needs_no_registration_with_this_replica(
    edge: EdgeSite, kafka_bootstrap: str, tmp_path: Path
) -> None:
    """Two replicas answer one relay in turn, even the two requests of its registration."""
    topic = edge.edge.settings.kafka_topic
    async with open_edge(kafka_bootstrap, topic, relays=[RELAY], directory=tmp_path) as second:
        assert await RELAY.register(edge, second) == 200
        assert await RELAY.register(second, edge) == 200
        for replica in (edge, second, edge):
            assert "global" in await RELAY.configs(replica, [], **{"global": True})


async def test_an_unknown_relay_is_refused_and_not_stopped(edge: EdgeSite) -> None:
    """`{"relay": "stop"}` would make it give up until it is restarted."""
    body = {"relay_id": STRANGER.id, "public_key": STRANGER.public_key, "version": "26.2.1"}
    refusal = {"detail": "Relay is not allowed to register"}
    assert await STRANGER.post(edge, "register/challenge/", body) == (403, refusal)
    for path in ("projectconfigs/?version=3", "publickeys/", "outcomes/"):
        assert await STRANGER.post(edge, path, {}) == (401, {"detail": "Unknown relay"})


async def test_a_known_relay_cannot_register_with_another_key(edge: EdgeSite) -> None:
    """The id alone proves nothing."""
    thief = SigningRelay()
    thief.id = RELAY.id
    assert await thief.register(edge) == 403
    assert (await thief.post(edge, "projectconfigs/?version=3", {}))[0] == 401


@pytest.mark.parametrize("path", ["projectconfigs/?version=3", "publickeys/", "outcomes/", "register/response/"])
@pytest.mark.parametrize("signature", ["", "x", ".", "A" * 86 + ".e30"])
async def test_a_wrong_signature_is_refused_on_every_endpoint(edge: EdgeSite, path: str, signature: str) -> None:
    """Also in the response to a challenge, whose token is checked first."""
    status, answer = await RELAY.post(edge, path, {}, {"X-Sentry-Relay-Signature": signature})
    assert status == 401
    assert set(answer) == {"detail"}


@pytest.mark.parametrize("path", ["projectconfigs/?version=3", "publickeys/", "outcomes/"])
async def test_a_signature_of_another_time_or_body_or_a_part_of_one_is_refused(edge: EdgeSite, path: str) -> None:
    """A recorded request cannot be repeated after five minutes; the clocks may differ by less."""
    body, now = b"{}", datetime.now(UTC)
    right = RELAY.signature(body, now - timedelta(seconds=290))
    wrong = [
        RELAY.signature(body, now - timedelta(seconds=301)),
        RELAY.signature(body, now + timedelta(seconds=310)),
        RELAY.signature(b"[]", now),
        STRANGER.signature(body, now),
        right[:-1],
        right[1:],
        right.partition(".")[0],
    ]
    assert (await RELAY.post(edge, path, body, {"X-Sentry-Relay-Signature": right}))[0] != 401
    for signature in wrong:
        assert (await RELAY.post(edge, path, body, {"X-Sentry-Relay-Signature": signature}))[0] == 401


async def test_the_id_in_the_body_must_be_that_of_the_header(edge: EdgeSite) -> None:
    """And the header must be a UUID."""
    body = {"relay_id": STRANGER.id, "public_key": RELAY.public_key, "version": "26.2.1"}
    assert (await RELAY.post(edge, "register/challenge/", body))[0] == 400
    status, _ = await RELAY.post(edge, "projectconfigs/?version=3", {}, {"X-Sentry-Relay-Id": "me"})
    assert status == 401


async def test_the_public_keys_of_known_relays_are_returned(edge: EdgeSite) -> None:
    """For relays behind a relay; null for unknown ones."""
    status, answer = await RELAY.post(edge, "publickeys/", {"relay_ids": [RELAY.id, STRANGER.id, 5]})
    assert status == 200
    assert answer["relays"] == {
        RELAY.id: {"publicKey": RELAY.public_key, "internal": True},
        STRANGER.id: None,
    }


async def test_outcomes_are_published_and_malformed_ones_skipped(edge: EdgeSite, kafka_bootstrap: str) -> None:
    """Unknown members are removed; the response is an empty object, with 202."""
    outcome = {
        "timestamp": datetime.now(UTC).isoformat(),
        "org_id": 1,
        "project_id": 2,
        "key_id": 3,
        "outcome": 2,
        "reason": "key_quota",
        "category": 1,
        "quantity": 1,
    }
    wrong: list[Any] = [
        {},
        5,
        {**outcome, "outcome": 7},
        {**outcome, "project_id": True},
        {**outcome, "quantity": -1},
        {**outcome, "reason": "x" * 1000},
        {**outcome, "timestamp": "yesterday"},
        {name: value for name, value in outcome.items() if name != "project_id"},
    ]
    sent = [{**outcome, "other": 1, "event_id": None}, *wrong]
    assert await RELAY.post(edge, "outcomes/", {"outcomes": sent}) == (202, {})
    records = await read_log(kafka_bootstrap, edge.edge.settings.outcomes_topic, 0)
    assert [json.loads(record.value) for record in records] == [outcome]
    assert (await RELAY.post(edge, "outcomes/", {"outcomes": [outcome] * 1001}))[0] == 400
    assert (await RELAY.post(edge, "outcomes/", {"outcomes": None}))[0] == 400


async def test_outcomes_are_refused_with_503_if_they_cannot_be_published(
    kafka_bootstrap: str, tmp_path: Path
) -> None:
    """The relay then sends them again."""
    async with open_edge(
        kafka_bootstrap, relays=[RELAY], directory=tmp_path, kafka_request_timeout=0.3, outcomes_topic="none"
    ) as site:
        outcome = {"timestamp": datetime.now(UTC).isoformat(), "project_id": 2, "outcome": 0}
        assert (await RELAY.post(site, "outcomes/", {"outcomes": [outcome]}))[0] == 503


async def test_the_edge_is_live_and_refuses_envelopes_with_503(edge: EdgeSite) -> None:
    """A relay that receives 404 or 500 for an envelope discards it."""
    assert (await edge.send("GET", RELAYS + "live/"))[0] == 200
    assert (await edge.send("POST", "/api/1/envelope/", b"{}"))[0] == 503
    assert (await edge.send("POST", "/api/0/relays/metrics/", b"{}"))[0] == 404
    assert (await edge.send("PUT", RELAYS + "live/"))[0] == 405


async def test_the_file_of_relays_is_read_again_when_it_changes(kafka_bootstrap: str, tmp_path: Path) -> None:
    """An invalid file is not used; a relay that was removed is refused at its next request."""
    file = tmp_path / "relays.json"
    async with open_edge(kafka_bootstrap, relays=[RELAY], directory=tmp_path) as site:
        file.write_text("{")
        await asyncio.sleep(0)
        assert await RELAY.register(site) == 200
        file.write_text(json.dumps(STRANGER.entry))
        await poll_until(lambda: _registers(STRANGER, site), timeout=10)
        assert (await RELAY.post(site, "projectconfigs/?version=3", {}))[0] == 401


async def _registers(relay: SigningRelay, edge: EdgeSite) -> bool:
    return await relay.register(edge) == 200


async def test_any_relay_registers_in_development_and_stays_known(kafka_bootstrap: str, tmp_path: Path) -> None:
    """Its key never changes, and it is known after a restart, too."""
    file, topic = tmp_path / "open.json", await new_topic(kafka_bootstrap)
    relay, thief = SigningRelay(), SigningRelay()
    thief.id = relay.id
    async with open_edge(kafka_bootstrap, topic, open_relays=file) as site:
        assert (await relay.post(site, "projectconfigs/?version=3", {}))[0] == 401
        assert await relay.register(site) == 200
        assert await thief.register(site) == 403
    async with open_edge(kafka_bootstrap, topic, open_relays=file) as site:
        assert (await relay.post(site, "projectconfigs/?version=3", {}))[0] == 200


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "cannot be read"),
        ("[]", "must contain a JSON object"),
        (json.dumps({"me": {"public_key": RELAY.public_key, "internal": True}}), "'me' is not a relay id"),
        (json.dumps({str(uuid4()): {"public_key": RELAY.public_key}}), '"internal": true'),
        (json.dumps({str(uuid4()): {"public_key": "short", "internal": True}}), "must have 43 characters"),
        (json.dumps({str(uuid4()): {"internal": True}}), "the member public_key"),
    ],
    ids=["not JSON", "no object", "not an id", "not internal", "short public key", "no public key"],
)
async def test_a_wrong_file_of_relays_prevents_the_start(content: str, reason: str, tmp_path: Path) -> None:
    """As other invalid settings do; external relays are not supported."""
    file = tmp_path / "relays.json"
    file.write_text(content)
    settings = edge_settings("127.0.0.1:9", "keys", relay_public_keys_file=str(file), relay_secret="x" * 16)
    with pytest.raises(SettingsError, match=rf"(?s)^RELAY_PUBLIC_KEYS_FILE: .*{reason}"):
        build_edge(settings)


def test_the_file_of_relays_requires_the_shared_secret() -> None:
    """Otherwise each replica would refuse the tokens of the others."""
    settings = edge_settings("127.0.0.1:9", "keys", relay_public_keys_file="relays.json")
    assert set(settings.mistakes()) == {"RELAY_SECRET"}
    assert replace(settings, relay_secret="x" * 16).mistakes() == {}
