"""The files of the console: served without a token, under a strict policy, with the path of PUBLIC_URL."""

import gzip
import hashlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from aiohttp import ClientSession

from service.http.console.pages import CONTENT_SECURITY_POLICY, SCREENS
from service.settings import Settings
from tests.browser import AXE
from tests.http_service import COMMON_HEADERS, Site, serving

CONSOLE = Path(str(files("service.http.console")))
SCRIPTS = sorted([*CONSOLE.glob("*.js"), *CONSOLE.glob("views/*.js")])


@pytest.mark.parametrize("path", [screen.replace("{", "").replace("}", "") for screen in SCREENS])
async def test_every_screen_is_the_same_page(site: Site, path: str) -> None:
    """With headers that permit nothing but files of this service; a token or a session is not needed."""
    response = await site.send("GET", path, token="")
    assert (response.status, response.raw) == (200, (await site.send("GET", "/console/", token="")).raw)
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert "require-trusted-types-for 'script'; trusted-types 'none'" in CONTENT_SECURITY_POLICY
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response.headers["X-Frame-Options"] == COMMON_HEADERS["X-Frame-Options"]
    etag = {"If-None-Match": response.headers["ETag"]}
    assert (await site.send("GET", path, token="", headers=etag)).status == 304


async def test_the_page_and_its_modules_load_files_that_exist(site: Site) -> None:
    """Of the console and of the docs; nothing inline, and no other host."""
    html = (await site.send("GET", "/console/", token="")).raw.decode()
    assert not re.search(r"<style|<script>| on\w+=|style=|https?://", html)
    loads = set(re.findall(r'(?:href|src)="([^"]+)"', html))
    for script in SCRIPTS:
        base = f"/console/{script.relative_to(CONSOLE).parent}/".replace("/./", "/")
        imports = re.findall(r'from "(\.[^"]+)"', script.read_text())
        loads |= {str(Path(base, target)).replace("views/../", "") for target in imports}
    assert len(loads) > 15
    for path in loads:
        assert (await site.send("GET", path, token="")).status == 200, path


def test_the_scripts_are_small_and_turn_no_text_into_elements() -> None:
    """Below 60 KiB without the library."""
    assert sum(script.stat().st_size for script in SCRIPTS) < 60 * 1024
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|sessionStorage"
    assert [script.name for script in SCRIPTS if re.search(forbidden, script.read_text())] == []


@pytest.mark.parametrize("directory", [CONSOLE / "vendor", AXE], ids=lambda path: path.name)
def test_vendored_files_have_the_published_checksums(directory: Path) -> None:
    """The licences as well."""
    origin = json.loads((directory / "ORIGIN.json").read_text())
    for name, checksum in origin["sha256"].items():
        packed = directory / f"{name}.gz"
        content = gzip.decompress(packed.read_bytes()) if packed.is_file() else (directory / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == checksum


async def test_the_start_page_redirects_to_the_console(site: Site) -> None:
    """Below the path of PUBLIC_URL."""
    for path in ("/", "/console"):
        response = await site.send("GET", path, token="", allow_redirects=False)
        assert (response.status, response.headers["Location"]) == (302, "/console/")


@pytest.fixture
async def without_console(settings: Settings) -> AsyncIterator[ClientSession]:
    """A client of a service with CONSOLE=false, below a path."""
    url = "https://example.com/keys"
    async with serving(replace(settings, console=False, public_url=url)) as (_, _, session):
        yield session


async def test_a_service_without_console_has_neither_pages_nor_sessions(
    without_console: ClientSession,
) -> None:
    """The start page redirects to the documentation."""
    async with without_console.get("/", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (302, "/keys/docs")
    for path in ("/console/", "/console/session"):
        async with without_console.get(path) as response:
            assert response.status == 404


async def test_the_page_has_the_path_of_the_public_url(settings: Settings) -> None:
    """In its own links and for its modules."""
    async with serving(replace(settings, public_url="https://example.com/keys")) as (_, _, session):
        html = await (await session.get("/console/")).text()
    assert 'data-prefix="/keys"' in html
    assert all(url.startswith("/keys/") for url in re.findall(r'(?:href|src)="([^"]+)"', html))
