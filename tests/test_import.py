"""`import`: what is inserted and published, what is refused, and what happens after an interruption."""

import asyncio
from pathlib import Path

import orjson
import pytest

from service.app import Service
from service.domain.model import NewProjectKey, ProjectKeyChange
from service.postgres.transfers import only_import
from service.settings import Settings
from testkit.polling import poll_until
from tests.commands import run
from tests.conftest import ORIGIN, make_organization, make_project
from tests.events import reading
from tests.outbox import Postgres
from tests.transfer_files import (
    Item,
    key_item,
    option_item,
    organization_item,
    project_item,
    write_json,
    write_text,
)

_MANY = 5_000


@pytest.fixture(autouse=True)
def _environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the database and the DSNs of the commands."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("INGEST_URL", settings.ingest_url)


async def _count(postgres: Postgres, *tables: str) -> list[int]:
    return [await postgres.fetchval(f"SELECT count(*) FROM {table}") for table in tables]  # noqa: S608 -- a constant


async def _refused(capsys: pytest.CaptureFixture[str], path: str) -> list[str]:
    """Import a file that has conflicts; return the lines about them."""
    capsys.readouterr()
    assert await run("import", path, "--apply") == 1
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("conflict")]


async def test_every_key_keeps_its_dsn_and_is_published(postgres: Postgres, tmp_path: Path) -> None:
    """Public key, project id and the row ids are those of the file; each key has an event and an audit entry."""
    keys = [
        key_item(11),
        key_item(12, label=None, status=1, rate_limit_count=5, rate_limit_window=60),
        key_item(13, public_key="c1373be3-5a79-4480-8c8b-cfede8097df1", data={"browserSdkVersion": "7.x"}),
    ]
    items = [*keys, project_item(), organization_item(), option_item(7, "https://relay.example.com/in/")]
    path = write_json(tmp_path, items)
    assert await run("import", path) == 1, "the comparison found something"
    assert await _count(postgres, "organization", "project", "project_key", "outbox") == [0, 0, 0, 0]
    assert await run("import", path, "--apply") == 0
    assert await run("import", path) == 0, "there is nothing to do"
    rows = await postgres.fetch("SELECT * FROM project_key ORDER BY id")
    assert [row["id"] for row in rows] == [11, 12, 13]
    assert {row["project_id"] for row in rows} == {40}
    assert rows[1]["label"] == keys[1]["fields"]["public_key"][:14]
    assert (rows[1]["is_active"], rows[1]["rate_limit_count"], rows[1]["rate_limit_window"]) == (False, 5, 60)
    assert rows[2]["public_key"] == "c1373be35a7944808c8bcfede8097df1"
    assert rows[2]["browser_sdk_version"] == "7.x"
    assert not any(orjson.loads(rows[2]["loader_options"]).values()), "an absent option is off"
    assert rows[0]["created_at"].isoformat() == "2021-06-22T22:54:28.932123+00:00"
    events = await postgres.fetch("SELECT * FROM outbox JOIN project_key ON public_key = aggregateid")
    assert len(events) == 3
    for event in events:
        state = orjson.loads(event["payload"])
        assert state["dsn"] == {"public": f"https://{event['public_key']}@relay.example.com/in/40"}
        assert (state["isActive"], state["version"]) == (event["is_active"], 1)
        assert state["keyId"] in {row["id"] for row in rows}
        assert event["secret_key"] not in event["payload"]
    audit = await postgres.fetch("SELECT action, change_id FROM audit_entry ORDER BY id")
    actions = [row["action"] for row in audit]
    assert actions == ["organization.create", "project.create", *["projectkey.create"] * 3]
    assert {event["id"] for event in await postgres.fetch("SELECT id FROM outbox")} <= {
        row["change_id"] for row in audit
    }


async def test_a_running_service_publishes_the_imported_keys(
    publishing_service: Service, topic: str, kafka_bootstrap: str, tmp_path: Path
) -> None:
    """It is notified, like of every event of another process."""
    assert publishing_service.settings.kafka_topic == topic
    keys = [key_item(1), key_item(2)]
    assert await run("import", write_json(tmp_path, [organization_item(), project_item(), *keys]), "--apply") == 0
    async with reading(kafka_bootstrap, topic) as reader:
        records = await reader.count(2)
    assert {record.key.decode() for record in records} == {key["fields"]["public_key"] for key in keys}


async def test_a_new_key_gets_an_id_after_the_imported_ones(
    service: Service, postgres: Postgres, tmp_path: Path
) -> None:
    """The sequences of all three tables continue after the highest id."""
    path = write_json(tmp_path, [organization_item(), project_item(), key_item(11), key_item(1)])
    assert await run("import", path, "--apply") == 0
    project = await make_project(service)
    await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)
    assert (project.organization.id, project.id) == (8, 41)
    assert await postgres.fetchval("SELECT max(id) FROM project_key") == 12


async def test_an_id_in_use_is_replaced_unless_dsns_contain_it(
    service: Service, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The id of a key, and that of an organization without ORG_SUBDOMAINS."""
    project = await make_project(service)
    await service.use_cases.create_key.execute(NewProjectKey(), project, ORIGIN)
    path = write_json(tmp_path, [organization_item(1), project_item(organization=1), key_item(1)])
    monkeypatch.setenv("ORG_SUBDOMAINS", "true")
    assert await run("import", path, "--apply") == 1
    monkeypatch.setenv("ORG_SUBDOMAINS", "false")
    assert await run("import", path, "--apply") == 0
    assert await postgres.fetchval("SELECT id FROM organization WHERE slug = 'acme'") == 2
    assert await postgres.fetchval("SELECT id FROM project_key WHERE project_id = 40") == 2


async def test_conflicts_are_all_listed_and_prevent_every_write(
    service: Service, postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key of another project, a deleted key, and the id or the slug of another project."""
    project = await make_project(service, organization=await make_organization(service, "acme"))
    create = service.use_cases.create_key
    other = (await create.execute(NewProjectKey(), project, ORIGIN)).key
    gone = (await create.execute(NewProjectKey(), project, ORIGIN)).key
    await service.use_cases.change_keys.delete(project, gone.public_key, ORIGIN)
    before = await _count(postgres, "organization", "project", "project_key", "outbox", "audit_entry")
    items = [
        organization_item(),
        project_item(),
        project_item(project.id, "mobile"),
        project_item(41, project.slug),
        key_item(90, public_key=other.public_key),
        key_item(91, public_key=gone.public_key),
        key_item(92, secret_key=other.secret_key),
        key_item(93, project=99),
        key_item(94),
    ]
    conflicts = await _refused(capsys, write_json(tmp_path, items))
    assert [line.partition(": ")[2].partition(": ")[2] for line in conflicts] == [
        f"its id is that of acme/{project.slug}",
        f"its slug is that of the project with the id {project.id}",
        f"it belongs to acme/{project.slug} (id {project.id})",
        "it was deleted; an import never restores a deleted key",
        "its secret key is that of another key",
        "the file does not contain its project",
    ]
    assert not any(key.secret_key in line for key in (other, gone) for line in conflicts)
    assert await _count(postgres, "organization", "project", "project_key", "outbox", "audit_entry") == before


async def test_differences_are_listed_and_stay(
    service: Service, postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings of a key, the name of a project, a project that was renamed."""
    key = key_item(11)
    items = [organization_item(), project_item(), key]
    assert await run("import", write_json(tmp_path, items), "--apply") == 0
    project = await service.use_cases.projects.get("acme", "web")
    change = ProjectKeyChange(name="Changed", is_active=False)
    await service.use_cases.change_keys.update(project, key["fields"]["public_key"], change, ORIGIN)
    await postgres.execute("UPDATE project SET slug = 'site'")
    await postgres.execute("INSERT INTO project_slug_redirect SELECT organization_id, 'web', id FROM project")
    key["fields"] |= {"secret_key": "f" * 32, "date_added": "2022-01-01T00:00:00Z"}
    path = write_json(tmp_path, [*items, key_item(12)])
    capsys.readouterr()
    assert await run("import", path, "--apply") == 0
    output = capsys.readouterr().out
    for text in (
        "project web (id 40): slug is 'site', in the file 'web'",
        "label is 'Changed', in the file 'Key 11'",
        "is_active is False, in the file True",
        "secret_key differs",
    ):
        assert text in output
    assert "f" * 32 not in output
    rows = await postgres.fetch("SELECT label, is_active FROM project_key ORDER BY id")
    assert [tuple(row) for row in rows] == [("Changed", False), ("Key 12", True)]


async def test_other_records_are_skipped_and_counted(
    postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other models, keys without the role store, projects that are not active with their keys."""
    items: list[Item] = [
        {"model": "sentry.user", "pk": 1, "fields": {"username": "a"}},
        {"model": ["sentry.user"]},
        organization_item(),
        option_item(7, 3, key="sentry:account-rate-limit"),
        project_item(),
        project_item(41, "gone", status=2),
        key_item(1),
        key_item(2, roles=2),
        key_item(3, project=41),
    ]
    assert await run("import", write_json(tmp_path, items), "--apply") == 0
    output = capsys.readouterr().out
    assert "Skipped records of other models: 2." in output
    assert "Skipped keys without the role store: 1." in output
    assert "Skipped keys of projects that are not active: 1." in output
    assert "Skipped projects that are not active: 1." in output
    assert await _count(postgres, "project", "project_key") == [1, 1]


async def test_a_csv_file_sets_only_what_it_contains(postgres: Postgres, tmp_path: Path) -> None:
    """An empty value is a value that is absent; a row repeats its organization and its project."""
    first, second = "a" * 32, "b" * 32
    path = write_text(
        tmp_path,
        "organization,project,project_id,public_key,label,active,limit,window\r\n"
        f'acme,web,40,{first},"A, with a comma",false,10,60\r\n'
        f"acme,web,40,{second},,,,\r\n",
    )
    assert await run("import", path, "--apply") == 0
    await postgres.execute("UPDATE project_key SET label = 'Changed' WHERE public_key = $1", second)
    assert await run("import", path) == 0, "the label is not compared"
    rows = await postgres.fetch("SELECT * FROM project_key ORDER BY id")
    assert [row["label"] for row in rows] == ["A, with a comma", "Changed"]
    assert [row["is_active"] for row in rows] == [False, True]
    assert [row["rate_limit_count"] for row in rows] == [10, None]


async def test_an_import_waits_for_a_change_of_the_ingest_url(
    service: Service, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that publishes new DSNs would not find keys with the former one that are committed later."""
    monkeypatch.setenv("LOCK_TIMEOUT", "60")
    monkeypatch.setenv("STATEMENT_TIMEOUT", "90")
    assert await run("import", write_json(tmp_path, [organization_item(), project_item()]), "--apply") == 0
    path = write_json(tmp_path, [organization_item(), project_item(), key_item(1)])
    async with postgres.transaction():
        await postgres.execute("UPDATE organization SET ingest_url = 'https://new.example.com'")
        importing = asyncio.create_task(run("import", path, "--apply"))

        async def waits() -> bool:
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            async with service.database.connection() as connection:
                return bool(await connection.fetchval(waiting)) or importing.done()

        await poll_until(waits, timeout=30)
        assert not importing.done()
    assert await importing == 0
    assert "@new.example.com/40" in await postgres.fetchval("SELECT payload FROM outbox")


async def test_a_second_import_at_the_same_time_is_refused(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Until the first one has ended."""
    path = write_json(tmp_path, [organization_item()])
    async with service.database.connection() as connection:
        async with only_import(connection):
            assert await run("import", path, "--apply") == 1
            assert "another import is running" in capsys.readouterr().err
        assert await run("import", path, "--apply") == 0


async def test_an_interrupted_import_is_completed_by_the_next_one(
    postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The connection breaks in the middle of 5 000 keys; nothing is lost and nothing doubled."""
    items = [organization_item(), project_item(), *(key_item(number) for number in range(1, _MANY + 1))]
    path = write_json(tmp_path, items)
    importing = asyncio.create_task(run("import", path, "--apply"))

    async def has_begun() -> bool:
        return bool(await postgres.fetchval("SELECT count(*) FROM project_key"))

    await poll_until(has_begun, timeout=30)
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'projectkeys'"
    await postgres.execute(terminate)
    assert await importing == 1
    assert "the database is unavailable" in capsys.readouterr().err
    [imported] = await _count(postgres, "project_key")
    assert 0 < imported < _MANY
    assert await run("import", path, "--apply") == 0
    assert await _count(postgres, "project_key", "outbox") == [_MANY, _MANY]
    assert await postgres.fetchval("SELECT count(DISTINCT aggregateid) FROM outbox") == _MANY
    assert await postgres.fetchval("SELECT count(*) FROM audit_entry") == _MANY + 2
    assert await postgres.fetchval("SELECT max(id) FROM project_key") == _MANY
