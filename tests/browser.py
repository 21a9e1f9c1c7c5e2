"""The console in the system's Chromium: a service that publishes, a browser, and checks of each page."""

import gzip
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
from playwright.async_api import Browser, BrowserContext, Page, Route, async_playwright

from projectkeys_servers.ports import free_port
from service.app import Service, build, publishing
from service.domain.model import NewOrganization, NewProject, NewProjectKey, Origin, Project, RateLimit
from service.domain.scopes import SCOPES
from service.http.server.state import ServerState
from service.server import listening
from service.settings import Settings
from testkit.debian import require_program
from tests.http_service import ORGANIZATION

AXE = Path(__file__).parent / "axe"
SCREENSHOTS = Path(__file__).parents[1] / ".cache" / "console"
"""Of each screen; `make clean` deletes them."""

PROJECT = f"/console/o/{ORGANIZATION}/p/pump-station"
AUDIT = f"/console/o/{ORGANIZATION}/audit"
TOKENS = f"/console/o/{ORGANIZATION}/tokens"
_ORIGIN = Origin(token_id=None, request_id="test")
_COLLECT = "addEventListener('securitypolicyviolation', event => console.error('policy', event.violatedDirective))"


@dataclass(frozen=True, slots=True)
class Site:
    """A service with a publisher on a real port, a project without keys and a token of its organization."""

    service: Service
    server: ServerState
    postgres: "asyncpg.Connection[asyncpg.Record]"
    token: str

    @property
    def url(self) -> str:
        """The URL of the service."""
        return f"http://127.0.0.1:{self.service.settings.port}"

    async def create_keys(self, project: Project, names: Sequence[str]) -> None:
        """Create a key for each name, with a rate limit."""
        for name in names:
            new = NewProjectKey(name=name, rate_limit=RateLimit(window=60, count=1000))
            await self.service.use_cases.create_key.execute(new, project, _ORIGIN)


@asynccontextmanager
async def open_site(settings: Settings) -> AsyncIterator[Site]:
    """Run a service during the block; without PUBLIC_URL, as on a developer's machine."""
    service = build(replace(settings, public_url="", host=("127.0.0.1",), port=free_port(), ops_port=free_port()))
    async with publishing(service), listening(service) as server:
        postgres = await asyncpg.connect(settings.database_url)
        use_cases, origin = service.use_cases, _ORIGIN
        new = NewOrganization("The Interstellar Jurisdiction", ORGANIZATION)
        organization, _ = await use_cases.organizations.create(new, origin)
        await use_cases.projects.create(
            organization, NewProject("Pump Station", "pump-station", default_key=False), origin
        )
        token = await service.use_cases.tokens.create("test", scopes=SCOPES, organization=ORGANIZATION)
        yield Site(service, server.state, postgres, token)
        await postgres.close()


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the system's browser for the block.

    Raises:
        MissingProgramError: It is missing and cannot be installed.
    """
    path = await require_program("chromium", package="chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        await browser.close()


@dataclass  # without slots: playwright sets attributes
class Console:
    """A page of the console, whose problems are collected.

    ``problems`` are messages of the browser's console, violations of the policy, errors of scripts
    and requests to other origins; ``expected`` are parts of messages that a test provokes.
    """

    page: Page
    site: Site
    problems: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    async def watch(self) -> None:
        """Start to collect problems, and abort requests to other origins."""
        self.page.on("console", lambda each: self._report(f"{each.type}: {each.text} ({each.location['url']})"))
        self.page.on("pageerror", lambda error: self._report(str(error)))
        await self.page.add_init_script(_COLLECT)
        await self.page.route("**/*", self._route)

    def _report(self, problem: str) -> None:
        if not any(part in problem for part in self.expected):
            self.problems.append(problem)

    async def _route(self, route: Route) -> None:
        if route.request.url.startswith(f"{self.site.url}/"):
            await route.continue_()
        else:
            self._report(f"request to {route.request.url}")
            await route.abort()

    async def open(self, path: str, heading: str | None = None) -> None:
        """Load an address and wait for its heading."""
        await self.page.goto(self.site.url + path)
        await self.heading(heading) if heading else await self.page.wait_for_selector("h1")

    async def heading(self, text: str) -> None:
        """Wait for a heading of the first level."""
        await self.page.locator("h1", has_text=text).wait_for()

    async def sign_in(self, token: str | None = None) -> None:
        """Sign in with the site's token or another one; the page stays at its address."""
        await self.open("/console/", "Sign in")
        await self.page.get_by_label("API token").fill(token or self.site.token)
        await self.page.keyboard.press("Enter")
        await self.heading("Projects")

    async def button(self, name: str) -> None:
        """Click a button by its exact name."""
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def toast(self, text: str) -> None:
        """Wait for a message."""
        await self.page.wait_for_selector(f'.toasts:has-text("{text}")')

    async def violations(self) -> list[str]:
        """Return what axe finds, and whether the page scrolls sideways."""
        await self.page.evaluate(gzip.decompress((AXE / "axe.min.js.gz").read_bytes()).decode())
        found: list[dict[str, Any]] = await self.page.evaluate("axe.run().then(result => result.violations)")
        wide = await self.page.evaluate("document.documentElement.scrollWidth > innerWidth")
        targets = [f"{each['id']}: {[node['target'] for node in each['nodes']]}" for each in found]
        return targets + (["scrolls sideways"] if wide else [])

    async def screenshot(self, name: str) -> None:
        """Write a screenshot of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@asynccontextmanager
async def open_console(browser: Browser, site: Site, **options: Any) -> AsyncIterator[Console]:
    """Open a page in a context of its own; fail at the end of the block if there were problems."""
    context: BrowserContext = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    console = Console(await context.new_page(), site)
    await console.watch()
    try:
        yield console
    finally:
        await context.close()
    assert not console.problems, console.problems
