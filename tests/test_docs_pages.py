"""The page of the API: a copy of Swagger UI under a policy that allows requests to this service only."""

import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any
from urllib.parse import urljoin

import pytest

from service.http.docs.swagger_page import CONTENT_SECURITY_POLICY, DOCUMENT, PAGE
from tests.http_service import COMMON_HEADERS, Site

SWAGGER_UI = files("service.http.docs") / "swagger_ui"
ORIGIN: dict[str, Any] = json.loads((SWAGGER_UI / "ORIGIN.json").read_text())
SCRIPT = f"/docs/swagger-ui-{ORIGIN['version']}.js"
STYLE = f"/docs/swagger-ui-{ORIGIN['version']}.css"
TYPES = {
    DOCUMENT: "application/json",
    PAGE: "text/html; charset=utf-8",
    SCRIPT: "text/javascript; charset=utf-8",
    STYLE: "text/css; charset=utf-8",
    "/docs/start.js": "text/javascript; charset=utf-8",
    "/docs/page.css": "text/css; charset=utf-8",
    "/docs/header.css": "text/css; charset=utf-8",
    "/docs/icon.svg": "image/svg+xml",
}


@pytest.mark.parametrize(("path", "content_type"), TYPES.items())
async def test_the_page_and_its_files_need_no_token(site: Site, path: str, content_type: str) -> None:
    """The response has the common headers and an ETag for a 304; only GET, HEAD and OPTIONS are allowed."""
    response = await site.send("GET", path, token="")
    assert (response.status, response.headers["Content-Type"]) == (200, content_type)
    differing = {"Cache-Control", "Vary"}
    assert {name: response.headers.get(name) for name in COMMON_HEADERS if name not in differing} == {
        name: value for name, value in COMMON_HEADERS.items() if name not in differing
    }
    etag = {"If-None-Match": response.headers["ETag"]}
    assert (await site.send("GET", path, token="", headers=etag)).status == 304
    head = await site.send("HEAD", path, token="")
    assert (head.status, head.raw) == (200, b"")
    rejected = await site.send("POST", path, token="")
    assert (rejected.status, rejected.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    options = await site.send("OPTIONS", path, token="")
    assert (options.status, options.headers["Allow"]) == (200, "GET, HEAD, OPTIONS")


class _Tags(HTMLParser):
    """Collects what a page loads, its links, and what a strict policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the resources, links and inline code of an element."""
        attributes = dict(attrs)
        if tag in {"style", "iframe", "object", "form"} or (tag == "script" and "src" not in attributes):
            self.inline.append(tag)
        self.inline += [name for name in attributes if name.startswith("on") or name == "style"]
        if tag == "a":
            self.links.append(attributes["href"] or "")
        else:
            self.loads += [value or "" for name, value in attrs if name in {"src", "href"}]


async def test_the_page_complies_with_its_strict_policy(site: Site) -> None:
    """Nothing is inline, and everything is loaded from this service."""
    response = await site.send("GET", PAGE, token="")
    policy = response.headers["Content-Security-Policy"]
    assert policy == CONTENT_SECURITY_POLICY
    directives = dict(directive.strip().split(" ", 1) for directive in policy.split(";"))
    assert directives == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    tags = _Tags()
    tags.feed(response.raw.decode())
    loads = {urljoin(PAGE, url) for url in tags.loads}
    assert (loads, tags.inline) == (set(TYPES) - {PAGE, DOCUMENT}, [])
    for path in tags.links:
        assert (await site.send("GET", urljoin(PAGE, path), token="")).status == 200


async def test_the_loaded_files_load_nothing_from_another_host(site: Site) -> None:
    """Style sheets contain their images; the script loads one document and disables the external validator."""
    for path in (STYLE, "/docs/page.css"):
        style = (await site.send("GET", path, token="")).raw.decode()
        assert all(url.strip("\"'").startswith("data:") for url in re.findall(r"url\(\s*(.{6})", style))
        assert "@import" not in style
    start = (await site.send("GET", "/docs/start.js", token="")).raw.decode()
    assert not re.search("https?://", start)
    assert f'url: "{DOCUMENT[1:]}"' in start
    assert "validatorUrl: null" in start
    script = (await site.send("GET", SCRIPT, token="")).raw.decode()
    assert not re.search(r"importScripts\(|\bimport\(['\"]", script)
    assert "SwaggerUIBundle" in script


@pytest.mark.parametrize("name", ORIGIN["sha256"])
def test_vendored_files_have_the_published_checksums(name: str) -> None:
    """The licences as well."""
    packed = SWAGGER_UI / f"{name}.gz"
    content = gzip.decompress(packed.read_bytes()) if packed.is_file() else (SWAGGER_UI / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == ORIGIN["sha256"][name]


@pytest.mark.parametrize("path", [SCRIPT, STYLE])
async def test_large_files_are_compressed_and_immutable(site: Site, path: str) -> None:
    """With gzip if the client accepts it; their names contain the version, so clients cache them forever."""
    plain = await site.send("GET", path, token="", headers={"Accept-Encoding": "identity"})
    packed = await site.send("GET", path, token="", headers={"Accept-Encoding": "gzip"})
    assert plain.raw == packed.raw
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < len(plain.raw) / 3
    assert packed.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert packed.headers["Vary"] == "Accept-Encoding"
    unchanged = await site.send("GET", path, token="", headers={"If-None-Match": packed.headers["ETag"]})
    assert (unchanged.status, unchanged.headers["Vary"]) == (304, "Accept-Encoding")
