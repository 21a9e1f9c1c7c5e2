"""Random bodies for every write: executed or rejected, never a 5xx, and nothing stored when rejected."""

import json
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.http.routes import RESOURCES
from tests.http_service import Site, stored

_MEMBERS = (
    *("name", "label", "slug", "public", "secret", "isActive", "useCase", "rateLimit", "browserSdkVersion"),
    *("dynamicSdkLoaderOptions", "defaultKey", "ingestUrl", "count", "window", "hasReplay", "hasDebug", "id"),
)
_NUMBERS = st.integers() | st.floats() | st.sampled_from([2**31, 2**31 - 1, 2**63, 10**400, -0.0, 1e308])
_TEXTS = (
    st.text(max_size=70)
    | st.text(st.characters(categories=["Cs", "Cc", "Cf", "Nd"]), max_size=10)
    | st.sampled_from(["0" * 32, "f" * 32, "x" * 65, "10.x", "latest", "https://a.example", "user", "-1", "1e5", " "])
)
_NAMES = st.sampled_from(_MEMBERS) | st.text(max_size=5)
_VALUES = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXTS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(_MEMBERS) | st.text(max_size=5), inner, max_size=5)
    ),
    max_leaves=8,
)
_BODIES = st.dictionaries(st.sampled_from(_MEMBERS), _VALUES, max_size=6) | _VALUES
_FORMS = st.text(string.ascii_letters + "=&%+.[];\x00\r\né0", max_size=200)
_CONTENT_TYPES = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "text/plain",
    "",
)
_WRITES = [
    (resource.path, method)
    for resource in RESOURCES
    for method in resource.methods
    if method not in {"GET", "HEAD", "DELETE"}
]
_FUZZ = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
async def names(site: Site) -> dict[str, str]:
    """Return the path parameters of an organization, a project and a key that only these tests use."""
    created = await site.send("POST", "/api/0/organizations/", json={"name": "Fuzzed"})
    organization = created.body["id"]
    projects = f"/api/0/organizations/{organization}/projects/"
    project = await site.send("POST", projects, json={"name": "Fuzzed"})
    keys = f"/api/0/projects/{organization}/{project.body['id']}/keys/"
    key = await site.send("POST", keys, json={})
    project_id, key_id = project.body["id"], key.body["id"]
    named = {"key_id": key_id, "key_name": "Fuzzed", "team": "fuzzed"}
    return {"organization": organization, "project": project_id, **named}


@pytest.mark.parametrize(("path", "method"), _WRITES)
@_FUZZ
@given(body=_BODIES)
async def test_any_json_is_accepted_or_rejected(
    site: Site, names: dict[str, str], path: str, method: str, body: Any
) -> None:
    """Members with values of any type, unknown members, lone surrogates and huge numbers."""
    raw = json.dumps(body).encode()
    await _send(site, method, path.format(**names), raw, "application/json")


@pytest.mark.parametrize(("path", "method"), _WRITES)
@_FUZZ
@given(raw=st.binary(max_size=300) | _FORMS.map(str.encode), content_type=st.sampled_from(_CONTENT_TYPES))
async def test_any_bytes_of_any_type_are_accepted_or_rejected(
    site: Site, names: dict[str, str], path: str, method: str, raw: bytes, content_type: str
) -> None:
    """As JSON, as both kinds of form, and as an unsupported type."""
    await _send(site, method, path.format(**names), raw, content_type)


async def _send(site: Site, method: str, path: str, raw: bytes, content_type: str) -> None:
    before = await stored(site)
    response = await site.send(method, path, data=raw, headers={"Content-Type": content_type})
    assert response.status < 500
    if response.status >= 400:
        assert await stored(site) == before
