"""The page of the API: Swagger UI from this service alone, under a policy that lets it ask nobody else."""

import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

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
}


@pytest.mark.parametrize(("path", "content_type"), TYPES.items())
async def test_whoever_asks_gets_the_page_and_what_it_loads(site: Site, path: str, content_type: str) -> None:
    """Without a token, with the headers of every answer; 304 for who has it, and no other method."""
    answer = await site.send("GET", path, token="")
    assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
    own = {"Cache-Control", "Vary"}
    assert {name: answer.headers.get(name) for name in COMMON_HEADERS if name not in own} == {
        name: value for name, value in COMMON_HEADERS.items() if name not in own
    }
    known = {"If-None-Match": answer.headers["ETag"]}
    assert (await site.send("GET", path, token="", headers=known)).status == 304
    head = await site.send("HEAD", path, token="")
    assert (head.status, head.raw) == (200, b"")
    refused = await site.send("POST", path, token="")
    assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD, OPTIONS")
    options = await site.send("OPTIONS", path, token="")
    assert (options.status, options.headers["Allow"]) == (200, "GET, HEAD, OPTIONS")


class _Tags(HTMLParser):
    """What a page loads, what it links to, and what stands in it that a strict policy forbids."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Sort an element."""
        given = dict(attrs)
        if tag in {"style", "iframe", "object", "form"} or (tag == "script" and "src" not in given):
            self.inline.append(tag)
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        if tag == "a":
            self.links.append(given["href"] or "")
        else:
            self.loads += [value or "" for name, value in attrs if name in {"src", "href"}]


async def test_the_page_lives_under_a_strict_policy(site: Site) -> None:
    """Nothing inline, nothing of anybody else's: the policy would not let it through."""
    answer = await site.send("GET", PAGE, token="")
    policy = answer.headers["Content-Security-Policy"]
    assert policy == CONTENT_SECURITY_POLICY
    directives = dict(one.strip().split(" ", 1) for one in policy.split(";"))
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
    tags.feed(answer.raw.decode())
    assert (set(tags.loads), tags.inline) == ({"data:,", *TYPES} - {PAGE, DOCUMENT}, [])
    for path in tags.links:
        assert (await site.send("GET", path, token="")).status == 200


async def test_nothing_that_is_loaded_loads_from_elsewhere(site: Site) -> None:
    """The style sheets hold their pictures; our script names one document and switches off the outside validator."""
    for path in (STYLE, "/docs/page.css"):
        style = (await site.send("GET", path, token="")).raw.decode()
        assert all(url.strip("\"'").startswith("data:") for url in re.findall(r"url\(\s*(.{6})", style))
        assert "@import" not in style
    start = (await site.send("GET", "/docs/start.js", token="")).raw.decode()
    assert not re.search("https?://", start)
    assert f'url: "{DOCUMENT}"' in start
    assert "validatorUrl: null" in start
    script = (await site.send("GET", SCRIPT, token="")).raw.decode()
    assert not re.search(r"importScripts\(|\bimport\(['\"]", script)
    assert "SwaggerUIBundle" in script


@pytest.mark.parametrize("name", ORIGIN["sha256"])
def test_what_is_not_ours_is_as_it_was_published(name: str) -> None:
    """By the sums that were written down with the version, licences too."""
    packed = SWAGGER_UI / f"{name}.gz"
    content = gzip.decompress(packed.read_bytes()) if packed.is_file() else (SWAGGER_UI / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == ORIGIN["sha256"][name]


@pytest.mark.parametrize("path", [SCRIPT, STYLE])
async def test_the_large_files_travel_packed_and_once(site: Site, path: str) -> None:
    """By gzip where that is taken, plain where it is not; never asked for again, for their names have a version."""
    plain = await site.send("GET", path, token="", headers={"Accept-Encoding": "identity"})
    packed = await site.send("GET", path, token="", headers={"Accept-Encoding": "gzip"})
    assert plain.raw == packed.raw
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < len(plain.raw) / 3
    assert packed.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert packed.headers["Vary"] == "Accept-Encoding"
