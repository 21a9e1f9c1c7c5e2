"""A key, its event and its audit entry: together or not at all, alone or in company."""

import asyncio

from structlog.testing import capture_logs

from service.settings import Settings
from tests.http_service import Site, open_site, stored, storing_nothing, with_more_keys

MAGIC = "the row that fails"


async def test_two_hundred_creates_at_once_are_two_hundred_keys(settings: Settings) -> None:
    """Each answer is its own key; each key has one event and one audit entry; many share a transaction."""
    async with open_site(settings) as site:
        before = await stored(site)
        answers = await asyncio.gather(*(site.create({"name": f"key {number}"}) for number in range(200)))
        assert [answer.body["name"] for answer in answers] == [f"key {number}" for number in range(200)]
        assert await stored(site) == with_more_keys(before, 200)
        rows = await site.postgres.fetch(
            """
            SELECT label, public_key, outbox.id::text AS event, project_key.xmin::text AS made_by,
                   outbox.xmin::text AS told_by, audit_entry.xmin::text AS audited_by
            FROM project_key
            JOIN outbox ON outbox.aggregateid = public_key
            JOIN audit_entry ON audit_entry.target = public_key
            """
        )
        assert {row["label"]: (row["public_key"], row["event"]) for row in rows} == {
            answer.body["name"]: (answer.body["id"], answer.headers["Event-Id"]) for answer in answers
        }
        assert all(row["made_by"] == row["told_by"] == row["audited_by"] for row in rows)
        assert len({row["made_by"] for row in rows}) <= 100


async def test_a_key_whose_event_cannot_be_stored_is_not_stored(settings: Settings) -> None:
    """All or nothing: neither key nor event nor audit entry; the caller sees an id, the log the cause."""
    async with open_site(settings) as site:
        await _fail_events_of_the_magic_name(site)
        async with storing_nothing(site):
            with capture_logs() as lines:
                answer = await site.create({"name": MAGIC}, headers={"X-Request-Id": "r-7"})
        assert (answer.status, answer.body) == (500, {"detail": "Internal Error", "errorId": "r-7"})
        [fault] = [line for line in lines if line["log_level"] == "error"]
        assert (fault["event"], fault["request_id"]) == ("request_failed", "r-7")


async def test_one_bad_row_does_not_fail_its_neighbours(settings: Settings) -> None:
    """Those that shared its transaction are committed without it."""
    async with open_site(settings) as site:
        await _fail_events_of_the_magic_name(site)
        before = await stored(site)
        names = [f"key {number}" for number in range(19)]
        with capture_logs():
            answers = await asyncio.gather(
                *(site.create({"name": name}) for name in [*names[:10], MAGIC, *names[10:]])
            )
        assert [answer.status for answer in answers] == [201] * 10 + [500] + [201] * 9
        good = [answer for answer in answers if answer.status == 201]
        assert [answer.body["name"] for answer in good] == names
        for answer in good:
            assert (await site.send("GET", f"{site.keys_path}{answer.body['id']}/")).body == answer.body
        assert await stored(site) == with_more_keys(before, 19)


async def _fail_events_of_the_magic_name(site: Site) -> None:
    await site.postgres.execute(
        f"""
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'a cause that no caller may see'; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON outbox FOR EACH ROW
        WHEN (NEW.payload ->> 'name' = '{MAGIC}') EXECUTE FUNCTION fail();
        """
    )
