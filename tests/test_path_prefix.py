"""A proxy that adds a prefix to all paths, as PUBLIC_URL says: every link that clients receive contains it."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import urljoin

import pytest

from service.http.docs import asyncapi_page, swagger_page
from tests.http_service import ORGANIZATION, Site, serving

PREFIX = "/keys/v1"
PUBLIC_URL = f"https://keys.example.com{PREFIX}"


@pytest.fixture
async def prefixed(site: Site) -> AsyncIterator[Site]:
    """The site behind such a proxy."""
    async with serving(replace(site.service.settings, public_url=f"{PUBLIC_URL}/")) as (
        service,
        server,
        session,
    ):
        yield replace(site, service=service, server=server, session=session)


async def test_redirects_and_links_contain_the_prefix(prefixed: Site) -> None:
    """A redirect has no host, so that clients keep the token."""
    assert (await prefixed.new_project("before-proxy")).status == 201
    path = f"/api/0/projects/{ORGANIZATION}/{{}}/"
    assert (await prefixed.send("PUT", path.format("before-proxy"), json={"slug": "after-proxy"})).status == 200
    for method, rest in (("GET", "keys/?per_page=1"), ("POST", "keys/")):
        moved = await prefixed.send(method, path.format("before-proxy") + rest, allow_redirects=False)
        url = f"{PREFIX}{path.format('after-proxy')}{rest}"
        assert (moved.headers["Location"], moved.body["detail"]["extra"]["url"]) == (url, url)
    listed = await prefixed.send("GET", prefixed.keys_path)
    assert listed.headers["Link"].startswith(f"<{PUBLIC_URL}{prefixed.keys_path}?")


async def test_the_documents_name_the_prefix(prefixed: Site) -> None:
    """The server of the OpenAPI document; its links are relative to its own URL."""
    document = (await prefixed.send("GET", swagger_page.DOCUMENT, token="")).body
    assert document["servers"] == [{"url": PREFIX}]
    linked = urljoin(f"{PUBLIC_URL}{swagger_page.DOCUMENT}", document["externalDocs"]["url"])
    assert linked == f"{PUBLIC_URL}{asyncapi_page.PAGE}"
    assert f"]({asyncapi_page.PAGE[1:]})" in document["info"]["description"]


@pytest.mark.parametrize("page", [swagger_page.PAGE, asyncapi_page.PAGE])
async def test_the_pages_link_only_to_paths_with_the_prefix(prefixed: Site, page: str) -> None:
    """Also if the service does not know the prefix, because the links are relative."""
    html = (await prefixed.send("GET", page, token="")).raw.decode()
    links = [link for link in re.findall(r'(?:href|src)="([^"]+)"', html) if not link.startswith("data:")]
    assert len(links) > 2
    for link in links:
        url = urljoin(f"{PUBLIC_URL}{page}", link)
        assert url.startswith(f"{PUBLIC_URL}/")
        response = await prefixed.send("GET", url.removeprefix(PUBLIC_URL), token="", allow_redirects=False)
        assert response.status == (302 if url == f"{PUBLIC_URL}/" else 200)
