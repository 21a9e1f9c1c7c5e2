"""The console follows what others change, without a request."""

import asyncio
from dataclasses import dataclass

import pytest
from playwright.async_api import Request

from service.domain.model import NewProjectKey, Origin, Project, ProjectKeyChange
from service.usecases.use_cases import UseCases
from tests.browser import PROJECT, Console
from tests.http_service import ORGANIZATION

_ORIGIN = Origin(token_id=None, request_id="another client")
_AFTER_EFFECTS = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
"""Ends after the requests that follow from what is shown."""


@dataclass(frozen=True, slots=True)
class Others:
    """What other clients do with the keys of the console's project."""

    use_cases: UseCases
    project: Project

    async def create(self, name: str) -> str:
        """Create a key and return its id."""
        written = await self.use_cases.create_key.execute(NewProjectKey(name=name), self.project, _ORIGIN)
        return written.key.public_key

    async def change(self, key: str, change: ProjectKeyChange) -> None:
        """Change a key."""
        await self.use_cases.change_keys.update(self.project, key, change, _ORIGIN)

    async def delete(self, key: str) -> None:
        """Delete a key."""
        await self.use_cases.change_keys.delete(self.project, key, _ORIGIN)


@pytest.fixture
async def others(console: Console) -> Others:
    """Other clients; the console shows the keys and is connected to the stream."""
    use_cases = console.site.service.use_cases
    await console.open(PROJECT, "Keys")
    await console.page.wait_for_selector("text=Connected.")
    await console.page.evaluate(_AFTER_EFFECTS)  # the first event is a reset, which reads the list again
    await console.page.wait_for_selector("[aria-busy='true']", state="detached")
    return Others(use_cases, await use_cases.projects.get(ORGANIZATION, "pump-station"))


async def test_rows_follow_the_changes_of_others(console: Console, others: Others) -> None:
    """A new key is the first row; its status changes; a deleted one disappears: the list is not read again."""
    page, requests = console.page, list[Request]()
    page.on("request", lambda request: requests.append(request))  # noqa: PLW0108 -- playwright accepts no built-in
    key = await others.create("Seen live")
    row = page.locator(f"[data-row='{key}']")
    await row.wait_for()
    assert await page.locator("[data-row]").first.get_attribute("data-row") == key
    await others.change(key, ProjectKeyChange(is_active=False))
    await row.get_by_text("Disabled", exact=True).wait_for()
    await others.change(key, ProjectKeyChange(name="Renamed live"))
    await row.get_by_text("Renamed live", exact=True).wait_for()
    assert await console.violations() == []
    await others.delete(key)
    await row.wait_for(state="detached")
    entries = page.get_by_role("log").locator(".badge")
    assert (await entries.all_text_contents())[:4] == ["deleted", "updated", "updated", "created"]
    assert [request.url for request in requests if "/keys/" in request.url] == []


async def test_a_list_that_was_read_before_an_event_does_not_undo_it(console: Console, others: Others) -> None:
    """The response, without the new key, arrives after the event."""
    page, feed = console.page, others.use_cases.event_feed
    session = await page.context.new_cdp_session(page)
    held = asyncio.get_running_loop().create_future()
    session.on("Fetch.requestPaused", lambda event: held.set_result(event["requestId"]))
    patterns = [{"urlPattern": "*/keys/?*", "requestStage": "Response"}]
    await session.send("Fetch.enable", {"patterns": patterns})
    feed._enter("problem")
    await page.wait_for_selector("text=Kafka is unavailable.")
    feed._enter("live")  # the list is read again
    request = await held
    key = await others.create("Beside a read")
    await page.locator(f"[data-row='{key}']").wait_for()
    await session.send("Fetch.continueResponse", {"requestId": request})
    await page.wait_for_selector("table[aria-busy='false']")
    assert await page.locator("[data-row]").first.get_attribute("data-row") == key


async def test_an_open_key_says_that_others_have_changed_it(console: Console, others: Others) -> None:
    """What is typed stays until the person reloads the key."""
    page = console.page
    key = await others.create("Open")
    await console.open(f"{PROJECT}/k/{key}", "Open")
    await page.get_by_label("Name").fill("Half typed")
    await others.change(key, ProjectKeyChange(name="Changed by others"))
    await page.wait_for_selector("text=This key was changed just now.")
    assert await page.get_by_label("Name").input_value() == "Half typed"
    assert await console.violations() == []
    await console.button("Reload")
    await console.heading("Changed by others")
    assert await page.locator("text=This key was changed just now.").count() == 0
    await others.delete(key)
    await page.wait_for_selector("text=This key was deleted just now.")


async def test_a_pause_holds_the_events(console: Console, others: Others) -> None:
    """The rows continue; the events appear after it."""
    page, log = console.page, console.page.get_by_role("log")
    await console.button("Pause")
    key = await others.create("During the pause")
    await page.locator(f"[data-row='{key}']").wait_for()
    await page.wait_for_selector("text=There are newer events.")
    assert await log.get_by_text("During the pause").count() == 0
    await console.button("Continue")
    await log.get_by_text("During the pause").wait_for()


async def test_a_filtered_list_gets_no_new_rows(console: Console, others: Others) -> None:
    """The new key is an event, and a row of the unfiltered list alone."""
    page = console.page
    await page.get_by_label("Search keys").fill("no such key")
    await page.wait_for_selector("text=No key matches")
    await others.create("Elsewhere")
    await page.get_by_role("log").get_by_text("Elsewhere").wait_for()
    assert await page.locator("[data-row]").count() == 0


async def test_the_page_says_that_kafka_is_unavailable_and_recovers(console: Console, others: Others) -> None:
    """After the outage the list is read again, because events may have been missed."""
    page, feed = console.page, others.use_cases.event_feed
    feed._enter("problem")
    await page.wait_for_selector("text=Kafka is unavailable.")
    assert await console.violations() == []
    async with page.expect_request(lambda request: "/keys/?" in request.url):
        feed._enter("live")
    await page.wait_for_selector("text=Connected.")


async def test_an_event_with_a_hostile_name_is_text(console: Console, others: Others) -> None:
    """In the events as in the rows."""
    name = "<img src=x onerror=alert(1)>"
    await others.create(name)
    await console.page.get_by_role("log").get_by_text(name).wait_for()
    assert await console.page.locator("main img").count() == 0
