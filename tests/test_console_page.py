"""The console in a browser: what a person does, and what must not happen meanwhile."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
from playwright.async_api import Browser, Route

from tests.browser import AUDIT, PROJECT, TOKENS, Console, Site, open_console
from tests.http_service import ORGANIZATION
from tests.openapi import OPENAPI

HOSTILE = "<img src=x onerror=alert(1)>"
LONG = "\u0645" * 20 + "\U0001f680" * 12 + "x" * 32


async def _create(console: Console, name: str) -> None:
    await console.open(PROJECT, "Keys")
    await console.button("New key")
    await console.page.get_by_label("Name").fill(name)
    await console.button("Create")
    await console.heading(name)


async def test_a_wrong_token_gets_a_message_and_a_right_one_a_session(browser: Browser, console_site: Site) -> None:
    """Scripts see neither the token nor the session; it is in no address and no storage."""
    async with open_console(browser, console_site) as console:
        console.expected = ("401",)  # the browser reports the response
        await console.open("/", "Sign in")
        await console.page.get_by_label("API token").fill("wrong")
        await console.page.keyboard.press("Enter")
        await console.page.wait_for_selector("text=This token is unknown, expired or revoked.")
        assert await console.page.context.cookies() == []
        await console.sign_in()
        stored = "document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + location"
        assert console_site.token not in (text := await console.page.evaluate(stored))
        assert "__Host" not in text
        await console.button("Sign out")
        await console.heading("Sign in")
        await console.open(PROJECT, "Sign in")


async def test_names_are_text(console: Console) -> None:
    """Never elements, on each page that shows them."""
    for name in (HOSTILE, LONG):
        await _create(console, name)
        for path in (console.page.url.removeprefix(console.site.url), PROJECT, AUDIT):
            await console.open(path)
            await console.page.wait_for_selector(f"text={name}")
            assert await console.page.locator("main img").count() == 0
            assert await console.violations() == []


async def test_a_repeated_create_makes_one_key(console: Console) -> None:
    """The first response is lost; the second attempt has the same idempotency key."""
    sent: list[str] = []
    session = await console.page.context.new_cdp_session(console.page)

    async def lose_first(event: Mapping[str, Any]) -> None:
        headers, answer = event["request"]["headers"], {"requestId": event["requestId"]}
        sent.extend(headers[name] for name in headers if name.lower() == "idempotency-key")
        if len(sent) == 1:
            await session.send("Fetch.failRequest", {**answer, "errorReason": "ConnectionReset"})
        else:
            await session.send("Fetch.continueRequest", answer)

    console.expected = ("ERR_CONNECTION_RESET",)
    await console.open(PROJECT, "Keys")
    session.on("Fetch.requestPaused", lose_first)
    patterns = [{"urlPattern": "*/keys/", "requestStage": "Response"}]
    await session.send("Fetch.enable", {"patterns": patterns})
    await console.button("New key")
    await console.page.get_by_label("Name").fill("Only one")
    await console.button("Create")
    await console.button("Try again")
    await console.heading("Only one")
    assert (len(sent), len(set(sent))) == (2, 1)
    count = "SELECT count(*) FROM project_key WHERE label = 'Only one'"
    assert await console.site.postgres.fetchval(count) == 1


async def test_a_dsn_is_copied_or_selected(console: Console) -> None:
    """Without the permission, the text is selected."""
    await _create(console, "Copied")
    url = console.page.url
    await console.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await console.page.get_by_role("button", name="Copy DSN", exact=True).click()
    await console.toast("Copied.")
    dsn = await console.page.get_by_label("DSN", exact=True).input_value()
    assert url.rpartition("/")[2] in dsn
    assert await console.page.evaluate("navigator.clipboard.readText()") == dsn
    await console.page.evaluate("navigator.clipboard.writeText = () => Promise.reject(new Error('denied')); 0")
    await console.page.get_by_role("button", name="Copy DSN", exact=True).click()
    await console.toast("Ctrl+C")
    assert await console.page.evaluate("getSelection().toString() || document.activeElement.value") == dsn


async def test_settings_send_only_what_changed(console: Console) -> None:
    """An invalid value gets its message at its field, which has the focus."""
    await _create(console, "Settings")
    bodies: list[str | None] = []
    console.page.on("request", lambda request: bodies.append(request.post_data) if request.method == "PUT" else None)
    await console.page.get_by_label("Window", exact=True).select_option("1 hour")
    await console.page.get_by_label("Events in each window").fill("250")
    await console.button("Save")
    await console.toast("Saved.")
    assert bodies == ['{"rateLimit":{"window":3600,"count":250}}']
    console.expected = ("400",)
    await console.page.get_by_label("Name").fill("x" * 65)
    await console.button("Save")
    await console.page.wait_for_selector(".field .error")
    assert await console.page.evaluate("document.activeElement.getAttribute('aria-invalid')") == "true"


async def test_a_session_that_ends_leads_to_the_sign_in(browser: Browser, console_site: Site) -> None:
    """The address stays, so that the page appears after the next sign-in."""
    token = await console_site.service.use_cases.tokens.create(
        "short", scopes=["project:read"], organization=ORGANIZATION
    )
    async with open_console(browser, console_site) as console:
        await console.sign_in(token)
        await console.open(PROJECT, "Keys")
        console.expected = ("401",)
        row = await console_site.postgres.fetchval("SELECT max(id) FROM api_token WHERE name = 'short'")
        await console_site.service.use_cases.tokens.revoke(row)
        await console.page.wait_for_selector("h1:text-is('Sign in')", timeout=15000)
        await console.page.get_by_label("API token").fill(console_site.token)
        await console.page.keyboard.press("Enter")
        await console.heading("Keys")


async def test_a_session_of_one_organization_does_not_list_organizations(console: Console) -> None:
    """The list needs org:read, which the token may not have."""
    paths: list[str] = []
    console.page.on("request", lambda request: paths.append(request.url.removeprefix(console.site.url)))
    await console.open("/console/", "Projects")
    await console.page.wait_for_selector("table")
    assert f"/api/0/organizations/{ORGANIZATION}/projects/" in paths
    assert "/api/0/organizations/" not in paths


async def test_a_token_that_only_reads_has_no_controls_to_write(browser: Browser, console_site: Site) -> None:
    """A forged request gets 403."""
    token = await console_site.service.use_cases.tokens.create(
        "reader", scopes=["project:read"], organization=ORGANIZATION
    )
    key = (await console_site.postgres.fetchval("SELECT max(public_key) FROM project_key")) or ""
    async with open_console(browser, console_site) as console:
        console.expected = ("403",)
        await console.sign_in(token)
        await console.page.get_by_label("Slug of the project").fill("pump-station")
        await console.button("Open")
        await console.heading("Keys")
        await console.page.wait_for_selector("table")
        assert (
            await console.page.get_by_role("button", name=re.compile("^(New key|Disable .+|Delete .+)$")).count() == 0
        )
        await console.open(f"{PROJECT}/k/{key}")
        assert await console.page.get_by_role("button", name=re.compile("^(Save|Disable|Delete)$")).count() == 0
        forged = f"""fetch("/api/0/projects/{ORGANIZATION}/pump-station/keys/{key}/", {{method: "PUT",
            headers: {{"Content-Type": "application/json"}}, body: "{{}}"}}).then(response => response.status)"""
        assert await console.page.evaluate(forged) == 403


async def test_the_keyboard_is_sufficient(browser: Browser, console_site: Site) -> None:
    """Sign in, create, disable and delete without a pointer; the focus is always on an element."""
    async with open_console(browser, console_site) as console:
        keyboard = console.page.keyboard
        await console.open(PROJECT, "Sign in")
        await keyboard.type(console_site.token)
        await keyboard.press("Enter")
        await console.heading("Keys")
        await keyboard.press("n")
        await console.page.wait_for_selector("dialog[open]")
        await keyboard.type("By keyboard")
        await keyboard.press("Enter")
        await console.heading("By keyboard")
        await console.page.go_back()
        await console.heading("Keys")
        await console.page.wait_for_selector("text=By keyboard")
        await keyboard.press("j")
        assert await console.page.evaluate("document.activeElement.textContent") == "By keyboard"
        await keyboard.press("e")
        await console.page.wait_for_selector("dialog[open]")
        await keyboard.press("Tab")
        await keyboard.press("Enter")
        await console.toast("Saved.")
        await console.page.wait_for_selector("dialog", state="detached")
        await console.page.get_by_role("button", name="Delete By keyboard").focus()
        await keyboard.press("Enter")
        await keyboard.type("By keyboard")
        await keyboard.press("Enter")
        await console.toast("Deleted.")
        await console.page.wait_for_selector("dialog", state="detached")
        assert await console.page.evaluate("document.activeElement !== document.body")


async def test_an_overload_shows_a_banner_and_recovers(console: Console) -> None:
    """The page tries again by itself after Retry-After."""
    console.expected = ("503",)
    failures = 2

    async def overload(route: Route) -> None:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            await route.fulfill(status=503, headers={"Retry-After": "1"}, json={"detail": "The service is busy."})
        else:
            await route.continue_()

    await console.page.route(re.compile(r"/keys/\?"), overload)
    await console.open(PROJECT, "Keys")
    await console.page.wait_for_selector("text=The page tries again by itself.")
    assert await console.violations() == []
    await console.page.wait_for_selector("table")


@pytest.mark.parametrize("path", ["/console/", f"/console/o/{ORGANIZATION}", PROJECT, AUDIT, TOKENS, "/docs/events"])
async def test_pages_have_no_violations(console: Console, path: str) -> None:
    """Of the rules of axe, on a wide and on a narrow screen."""
    for width in (1280, 390):
        await console.page.set_viewport_size({"width": width, "height": 900})
        await console.open(path)
        await console.page.wait_for_selector("table, .empty, pre")
        assert await console.violations() == []
        await console.screenshot(f"{path.strip('/').replace('/', '-')}-{width}")


async def test_the_page_of_the_api_has_no_violations(console: Console) -> None:
    """With an operation open, on a narrow screen; its contents lead to each group of operations."""
    page = console.page
    await page.set_viewport_size({"width": 390, "height": 900})
    await page.goto(f"{console.site.url}/docs")
    await page.locator("#operations-keys-createKey .opblock-summary-control").click()
    await page.wait_for_selector(".responses-table")
    assert await console.violations() == []
    targets = await page.evaluate("[...document.querySelectorAll('#contents a')].map(link => link.hash)")
    assert targets == [*(f"#operations-tag-{each['name']}" for each in OPENAPI["tags"]), "#schemas"]
    assert [await page.locator(target).count() for target in targets] == [1] * len(targets)
    assert await page.locator("link[rel=icon]").get_attribute("href") == "docs/icon.svg"
