"""Values and rules: partitions, DSNs, scopes, slugs and the payloads of events."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from service.domain.dsn import Ingest, endpoints
from service.domain.events import SHARDS, EventFactory, shard_of, time_to_json
from service.domain.model import (
    ORGANIZATION_SLUG,
    PROJECT_SLUG,
    LoaderOptions,
    NewProjectKey,
    Organization,
    Project,
    ProjectKey,
    RateLimit,
    new_key_half,
    slug_of,
)
from service.domain.scopes import LEVELS, SCOPES, expand
from service.http.serializers import key_to_json

_PUBLIC, _SECRET = "a" * 32, "b" * 32
_MADE = datetime(2026, 3, 4, 5, 6, 7, 890, UTC)
_REST_OF_API = (
    "csp-report/?sentry_key=KEY",
    "security/?sentry_key=KEY",
    "minidump/?sentry_key=KEY",
    "nel/?sentry_key=KEY",
    "unreal/KEY/",
    "cron/___MONITOR_SLUG___/KEY/",
    "playstation/?sentry_key=KEY",
    "integration/",
    "integration/otlp/v1/traces",
    "integration/otlp/v1/logs",
)
"""What follows ``…/api/<project>/`` in the addresses that are neither a DSN nor the loader."""


def _project(*, ingest_url: str | None = None) -> Project:
    owner = Organization(id=7, slug="acme", name="Acme", ingest_url=ingest_url, created_at=_MADE)
    return Project(
        id=42,
        slug="web",
        name="Web",
        default_browser_sdk_version="9.x",
        created_at=_MADE,
        organization=owner,
    )


def _key(**changes: Any) -> ProjectKey:
    values: dict[str, Any] = {
        "project_id": 42,
        "label": "Fabulous Key",
        "public_key": _PUBLIC,
        "secret_key": _SECRET,
        "is_active": True,
        "rate_limit": None,
        "browser_sdk_version": None,
        "loader_options": LoaderOptions(),
        "version": 3,
        "created_at": _MADE,
    }
    return ProjectKey(**{**values, **changes})


@given(key=st.text(alphabet="0123456789abcdef", min_size=1, max_size=40))
def test_a_shard_is_the_partition_that_kafkas_default_partitioner_gives(key: str) -> None:
    """Any length: the last one to three bytes are mixed differently."""
    partitions = list(range(SHARDS))
    assert shard_of(key) == DefaultPartitioner()(key.encode(), partitions, partitions)


@given(key=st.text())
def test_every_text_has_a_shard(key: str) -> None:
    """The shard is one of the topic's partitions."""
    assert shard_of(key) in range(SHARDS)


def _urls(ingest: Ingest, project: Project) -> dict[str, str]:
    """Return the addresses of a key in a response."""
    found: dict[str, str] = key_to_json(_key(), endpoints(ingest, project), "9.x")["dsn"]
    return found


def _addresses(dsn: str, api: str, loader: str) -> list[str]:
    scheme, _, rest = dsn.partition("://")
    middle = [f"{api}/api/42/{one.replace('KEY', _PUBLIC)}" for one in _REST_OF_API]
    return [
        f"{scheme}://{_PUBLIC}:{_SECRET}@{rest}/42",
        f"{scheme}://{_PUBLIC}@{rest}/42",
        *middle[:6],
        f"{loader}{_PUBLIC}.min.js",
        *middle[6:],
    ]


@pytest.mark.parametrize(
    ("ingest", "organizations_own", "base", "loader"),
    [
        pytest.param(
            Ingest("https://sentry.io"),
            None,
            "https://sentry.io",
            "https://sentry.io/js-sdk-loader/",
            id="plain",
        ),
        pytest.param(
            Ingest("http://keys.example:8443/a/b"),
            None,
            "http://keys.example:8443/a/b",
            "http://keys.example:8443/a/b/js-sdk-loader/",
            id="port and path prefix",
        ),
        pytest.param(
            Ingest("https://sentry.io:444/p", org_subdomains=True),
            None,
            "https://o7.ingest.sentry.io:444/p",
            "https://o7.ingest.sentry.io:444/p/js-sdk-loader/",
            id="organization subdomains",
        ),
        pytest.param(
            Ingest("https://sentry.io", org_subdomains=True),
            "https://relay.acme.example/ingest",
            "https://relay.acme.example/ingest",
            "https://o7.ingest.sentry.io/js-sdk-loader/",
            id="the organization's own, for all but the loader",
        ),
        pytest.param(
            Ingest("https://sentry.io", loader_cdn_url="https://js.example/"),
            "https://relay.acme.example",
            "https://relay.acme.example",
            "https://js.example/",
            id="loader CDN",
        ),
    ],
)
def test_all_thirteen_addresses_stand_under_the_configured_base(
    ingest: Ingest, organizations_own: str | None, base: str, loader: str
) -> None:
    """Scheme, port and path prefix of the base are kept; only the loader has a base of its own."""
    urls = _urls(ingest, _project(ingest_url=organizations_own))
    assert list(urls.values()) == _addresses(base, base, loader)


def test_only_the_secret_dsn_holds_the_secret() -> None:
    """Twelve of the thirteen addresses can be shown to anybody."""
    urls = _urls(Ingest("https://sentry.io"), _project())
    assert [name for name, url in urls.items() if _SECRET in url] == ["secret"]


@pytest.mark.parametrize("noun", ["project", "org"])
def test_a_higher_scope_implies_those_below_it_and_no_other(noun: str) -> None:
    """``admin`` is all three of its noun, ``read`` only itself; the other noun gains nothing."""
    for height, level in enumerate(LEVELS, start=1):
        assert expand([f"{noun}:{level}"]) == {f"{noun}:{lower}" for lower in LEVELS[:height]}


@pytest.mark.parametrize("scope", ["", "project", "project:", "project:everything", "event:read", "ORG:READ"])
def test_a_scope_that_does_not_exist_is_refused_with_those_that_do(scope: str) -> None:
    """The message is good enough to print."""
    with pytest.raises(ValueError, match=re.escape(f"{scope!r} is not a scope; the scopes are {', '.join(SCOPES)}")):
        expand(["project:read", scope])


@given(name=st.text(), pattern=st.sampled_from([ORGANIZATION_SLUG, PROJECT_SLUG]))
def test_a_slug_made_of_a_name_is_one_that_paths_allow_or_none(name: str, pattern: str) -> None:
    """Whatever people call their projects."""
    slug = slug_of(name, pattern)
    assert slug is None or re.fullmatch(pattern, slug)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Pump Station", "pump-station"),
        ("  Société   Générale! ", "societe-generale"),
        ("a_b", "a-b"),
        ("x" * 49 + " y", "x" * 49),
        ("404", None),
        ("日本", None),
        ("", None),
    ],
)
def test_a_name_makes_the_slug_that_people_expect(name: str, slug: str | None) -> None:
    """Accents go, everything else that is not a letter or digit becomes one hyphen; digits alone are an id."""
    assert slug_of(name, PROJECT_SLUG) == slug


@pytest.mark.parametrize("slug", ["404", "-a", "a-", "a b", "a/b", "a\n", "x" * 51, "", "é", "a_b"])
def test_an_organizations_slug_has_a_form(slug: str) -> None:
    """None of these names one."""
    assert re.fullmatch(ORGANIZATION_SLUG, slug) is None


@given(
    timestamp=st.datetimes(
        min_value=datetime(1900, 1, 1),  # noqa: DTZ001 -- the strategy adds the zones itself
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(timedelta(hours=-11))]),
    )
)
def test_a_formatted_timestamp_parses_to_the_same_timestamp(timestamp: datetime) -> None:
    """To the microsecond, from whatever zone, always with ``Z``."""
    text = time_to_json(timestamp)
    assert text.endswith("Z")
    assert datetime.fromisoformat(text) == timestamp


def test_a_time_on_the_wire_has_six_digits_or_none() -> None:
    """As clients know it: the fraction is left out when it is zero."""
    assert time_to_json(datetime(2026, 3, 4, 5, 6, 7, 890, UTC)) == "2026-03-04T05:06:07.000890Z"
    assert time_to_json(datetime(2026, 3, 4, 5, 6, 7, 0, UTC)) == "2026-03-04T05:06:07Z"
    assert time_to_json(datetime(2026, 3, 4, 1, 0, tzinfo=timezone(timedelta(hours=2)))) == "2026-03-03T23:00:00Z"


def test_consumers_are_told_the_whole_state_of_a_key() -> None:
    """Every member with its value; a version of its own goes before the project's default."""
    ingest = Ingest("https://sentry.io")
    key = _key(rate_limit=RateLimit(window=60, count=5), browser_sdk_version="8.x", is_active=False)
    assert EventFactory(ingest, to_json=orjson.dumps).state_of(key, _project()) == {
        "id": _PUBLIC,
        "version": 3,
        "organizationId": 7,
        "projectId": 42,
        "name": "Fabulous Key",
        "isActive": False,
        "rateLimit": {"window": 60, "count": 5},
        "dsn": {"public": endpoints(ingest, _project()).dsn % _PUBLIC},
        "browserSdkVersion": "8.x",
        "dynamicSdkLoaderOptions": {
            "hasReplay": True,
            "hasPerformance": True,
            "hasDebug": False,
            "hasFeedback": False,
            "hasLogsAndMetrics": False,
        },
        "dateCreated": "2026-03-04T05:06:07.000890Z",
        "expiresAt": None,
    }
    assert EventFactory(ingest, to_json=orjson.dumps).state_of(_key(), _project())["browserSdkVersion"] == "9.x"
    assert EventFactory(ingest, to_json=orjson.dumps).state_of(_key(id=5), _project())["keyId"] == 5


@given(
    label=st.text(min_size=1, max_size=64),
    limit=st.none() | st.builds(RateLimit, window=st.integers(1, 86400), count=st.integers(1, 2**31 - 1)),
    active=st.booleans(),
)
def test_no_secret_is_ever_in_an_event(label: str, limit: RateLimit | None, *, active: bool) -> None:
    """Whatever the key, neither the secret nor the DSN that holds it."""
    ingest = Ingest("https://sentry.io")
    payload = EventFactory(ingest, to_json=orjson.dumps).state_of(
        _key(label=label, rate_limit=limit, is_active=active), _project()
    )
    assert _SECRET.encode() not in orjson.dumps(payload)


def test_a_secret_is_not_shown_where_a_value_is_printed() -> None:
    """A key in a traceback or a log line says nothing of its secret."""
    assert _SECRET not in repr(_key())
    assert _SECRET not in repr(NewProjectKey(secret_key=_SECRET))


def test_each_half_of_a_key_is_thirty_two_hex_digits_of_its_own() -> None:
    """128 random bits each time."""
    halves = {new_key_half() for _ in range(100)}
    assert len(halves) == 100
    assert all(re.fullmatch("[0-9a-f]{32}", half) for half in halves)
