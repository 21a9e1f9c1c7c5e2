"""Configurations of keys for relays, read from the topic."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sentry_relay.processing import normalize_project_config

from service.domain.events import EventType
from service.domain.model import new_key_half
from tests.edge_site import EdgeSite, SigningRelay, open_edge

RELAY = SigningRelay()
_LIMIT: dict[str, Any] = {"rateLimit": {"window": 60, "count": 5}}


@pytest.fixture(scope="module")
async def edge(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeSite]:
    """An edge that knows the relay."""
    async with open_edge(kafka_bootstrap, relays=[RELAY], directory=tmp_path_factory.mktemp("edge")) as opened:
        yield opened


async def _config(edge: EdgeSite, key: str) -> Any:
    return (await RELAY.configs(edge, [key]))["configs"][key]


async def test_an_active_key_is_configured(edge: EdgeSite) -> None:
    """Names and types are those that Relay parses; its library accepts the inner configuration."""
    key = new_key_half()
    await edge.write(key, keyId=17, projectId=3, organizationId=2, **_LIMIT)
    config = await _config(edge, key)
    assert config.pop("rev").isalnum()
    inner = config.pop("config")
    assert config == {
        "disabled": False,
        "projectId": 3,
        "organizationId": 2,
        "publicKeys": [{"publicKey": key, "numericId": 17}],
    }
    assert inner["allowedDomains"] == ["*"]
    assert "organizations:session-replay" in inner["features"]
    assert inner["quotas"] == [
        {
            "id": "key_limit",
            "scope": "key",
            "scopeId": "17",
            "categories": ["default", "error", "security"],
            "limit": 5,
            "window": 60,
            "reasonCode": "key_quota",
        }
    ]
    [quota] = normalize_project_config(inner)["quotas"]
    assert quota == {**inner["quotas"][0], "namespace": None}


async def test_a_key_of_a_release_without_key_ids_has_no_number_and_no_quota(edge: EdgeSite) -> None:
    """Relay applies quotas by the number, which comes with the next version of the key."""
    key = new_key_half()
    await edge.write(key, keyId=None, **_LIMIT)
    config = await _config(edge, key)
    assert config["publicKeys"] == [{"publicKey": key}]
    assert config["config"]["quotas"] == []
    await edge.write(key, 2, keyId=18, expiresAt=None, **_LIMIT)
    assert (await _config(edge, key))["publicKeys"] == [{"publicKey": key, "numericId": 18}]


async def test_disabled_deleted_and_expired_keys_are_null(edge: EdgeSite) -> None:
    """Never an empty object, which would accept every event, and never unchanged."""
    disabled, deleted, expired, live = (new_key_half() for _ in range(4))
    now = datetime.now(UTC)
    await edge.write(disabled, isActive=False)
    await edge.write(deleted, 1)
    await edge.write(deleted, 2, EventType.DELETED)
    await edge.write(expired, expiresAt=(now - timedelta(seconds=6)).isoformat())
    await edge.write(live, expiresAt=(now - timedelta(seconds=1)).isoformat())
    answer = await RELAY.configs(edge, [disabled, deleted, expired], revisions=["a", None, "c"])
    assert answer == {
        "configs": {disabled: None, deleted: None, expired: None},
        "pending": [],
        "unchanged": [],
    }
    assert (await _config(edge, live))["disabled"] is False, "until 5 s after it, the database decides"


async def test_an_unchanged_configuration_is_not_sent_again(edge: EdgeSite) -> None:
    """Only if the revision is equal; a change of the key changes it, and a name does not."""
    key = new_key_half()
    await edge.write(key, 1, name="a")
    revision = (await _config(edge, key))["rev"]

    async def answer(*revisions: Any) -> dict[str, Any]:
        return await RELAY.configs(edge, [key], revisions=list(revisions))

    assert (await answer(revision))["unchanged"] == [key]
    for other in ([None], [7], ["x"], [revision, revision], []):
        assert (await answer(*other))["configs"][key]["rev"] == revision
    await edge.write(key, 2, name="b")
    assert (await answer(revision))["unchanged"] == [key]
    await edge.write(key, 3, **_LIMIT, keyId=1)
    assert (await answer(revision))["unchanged"] == []
    await edge.write(key, 4, isActive=False)
    assert (await answer(revision))["configs"] == {key: None}


async def test_all_replicas_give_the_same_revision(edge: EdgeSite, kafka_bootstrap: str, tmp_path: Path) -> None:
    """Otherwise relays would load every configuration again when another replica answers."""
    key = new_key_half()
    await edge.write(key, keyId=1, **_LIMIT)
    topic = edge.edge.settings.kafka_topic
    async with open_edge(kafka_bootstrap, topic, relays=[RELAY], directory=tmp_path) as second:
        revision = (await _config(edge, key))["rev"]
        assert (await RELAY.configs(second, [key], revisions=[revision]))["unchanged"] == [key]


async def test_an_unknown_key_is_pending_for_a_second_and_then_null(edge: EdgeSite) -> None:
    """Its event may come; afterwards the answer is null at once."""
    key = new_key_half()
    started, questions = asyncio.get_running_loop().time(), 0
    while key in (await RELAY.configs(edge, [key]))["pending"]:
        questions += 1
        await asyncio.sleep(0.1)
    assert asyncio.get_running_loop().time() - started >= 1
    assert questions <= 11
    assert (await RELAY.configs(edge, [key]))["configs"] == {key: None}
    await edge.write(key)
    assert (await _config(edge, key))["disabled"] is False


async def test_known_keys_are_answered_beside_unknown_ones(edge: EdgeSite) -> None:
    """What cannot be a public key is skipped; more than 500 keys are pending."""
    known, unknown = new_key_half(), new_key_half()
    await edge.write(known)
    foreign: list[Any] = [known.upper(), "x" * 32, "", 5, None, {}]
    answer = await RELAY.configs(edge, [*foreign, known, unknown, known])
    assert list(answer["configs"]) == [known]
    assert answer["pending"] == [unknown]
    answer = await RELAY.configs(edge, [new_key_half() for _ in range(500)] + [known])
    assert len(answer["pending"]) == 501


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"publicKeys": 5}', b"\xff", b"[" * 100_000, b"null"])
async def test_malformed_bodies_are_refused(edge: EdgeSite, body: bytes) -> None:
    """They are authentic, but no queries."""
    assert (await RELAY.post(edge, "projectconfigs/?version=3", body))[0] == 400


async def test_other_versions_and_larger_bodies_are_refused(edge: EdgeSite) -> None:
    """The limit is 1 MiB."""
    assert (await RELAY.post(edge, "projectconfigs/?version=2", {}))[0] == 400
    assert (await RELAY.post(edge, "projectconfigs/?version=3", b" " * 1_040_000 + b"{}"))[0] == 200
    assert (await RELAY.post(edge, "projectconfigs/?version=3", b" " * 2**20 + b"{}"))[0] == 413
