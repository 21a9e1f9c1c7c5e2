"""Every screen of the console in every state, theme and width: `make console`. Writes screenshots."""

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, Route

from tests.browser import AUDIT, PROJECT, SCREENSHOTS, TOKENS, Console, Site, open_console
from tests.http_service import ORGANIZATION

pytestmark = pytest.mark.states

_ORIGIN_PATH = f"/console/o/{ORGANIZATION}"
_SCREENS = {"projects": _ORIGIN_PATH, "keys": PROJECT, "key": "", "audit": AUDIT, "tokens": TOKENS}
_LISTS = {"projects": r"/projects/", "keys": r"/keys/\?", "audit": r"/audit-logs/", "tokens": r"/tokens/"}
_DIALOGS = {"projects": "New project", "keys": "New key", "key": "Delete"}
_EMPTY: dict[str, object] = {"audit": {"rows": [], "options": []}}
_NAMES = ("Web", "Mobile app", "Billing worker", "Staging", "<img src=x onerror=alert(1)>", "x" * 64)


@pytest.fixture(scope="module")
async def key_path(console_site: Site) -> str:
    """The address of one of some new keys, of which one is disabled."""
    use_cases = console_site.service.use_cases
    project = await use_cases.projects.get(ORGANIZATION, "pump-station")
    await console_site.create_keys(project, _NAMES)
    await console_site.postgres.execute("UPDATE project_key SET is_active = false WHERE label = 'Staging'")
    public_key = await console_site.postgres.fetchval("SELECT public_key FROM project_key WHERE label = 'Web'")
    return f"{PROJECT}/k/{public_key}"


@pytest.fixture(params=["light", "dark"])
async def themed(
    request: pytest.FixtureRequest, browser: Browser, console_site: Site
) -> AsyncIterator[tuple[Console, str]]:
    """A page in one of the two themes, with a session."""
    async with open_console(browser, console_site, color_scheme=request.param) as console:
        await console.sign_in()
        yield console, request.param


async def _check(console: Console, name: str) -> None:
    await asyncio.sleep(0.3)
    await console.screenshot(name)
    assert await console.violations() == []


async def _respond(console: Console, pattern: str, status: int, body: object) -> None:
    async def fulfill(route: Route) -> None:
        await route.fulfill(status=status, json=body, headers={"Link": ""})

    await console.page.route(re.compile(pattern), fulfill)


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 3840])
@pytest.mark.parametrize("screen", _SCREENS)
async def test_a_screen_in_every_state(themed: tuple[Console, str], key_path: str, screen: str, width: int) -> None:
    """Loaded, with a dialog, empty and after an error."""
    console, theme = themed
    console.expected = ("503",)
    path = _SCREENS[screen] or key_path
    await console.page.set_viewport_size({"width": width, "height": 900})
    await console.open(path)
    await console.page.wait_for_selector("table")
    await _check(console, f"{screen}-loaded-{theme}-{width}")
    if dialog := _DIALOGS.get(screen):
        await console.page.get_by_role("button", name=dialog, exact=True).first.click()
        await _check(console, f"{screen}-dialog-{theme}-{width}")
    if pattern := _LISTS.get(screen):
        await _respond(console, pattern, 200, _EMPTY.get(screen, []))
        await console.open(path)
        await console.page.wait_for_selector(".empty")
        await _check(console, f"{screen}-empty-{theme}-{width}")
    await _respond(console, _LISTS.get(screen, r"/keys/\w+/"), 503, {"detail": "The service is busy."})
    await console.open(path)
    await console.page.wait_for_selector(".banner")
    await _check(console, f"{screen}-error-{theme}-{width}")


async def test_the_picture_of_the_documentation(themed: tuple[Console, str], key_path: str) -> None:
    """`scripts/console-screenshot` copies it."""
    del key_path
    console, theme = themed
    await console.site.postgres.execute("DELETE FROM project_key WHERE label ~ '^(<|xx)'")
    await console.open(PROJECT, "Keys")
    await console.button("Enable Staging" if theme == "light" else "Disable Staging")
    await console.button("Enable" if theme == "light" else "Disable")
    await console.toast("Saved.")
    await asyncio.sleep(7)  # the message disappears
    await console.page.screenshot(path=SCREENSHOTS / f"picture-{theme}.png")
