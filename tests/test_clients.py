"""The clients of docs/clients.md: their versions, and the one that needs no installation."""

import asyncio
import re
import sys
from pathlib import Path
from typing import Final

import pytest

from service.domain.dsn import Ingest as DsnHosts
from service.domain.dsn import project_endpoints
from service.domain.model import new_key_half
from testkit.clients.__main__ import main
from testkit.clients.catalogue import CLIENTS
from testkit.clients.client import CACHE, PROGRAMS, Service
from testkit.clients.execution import run_program
from testkit.clients.ingest import Ingest, ingest_service
from testkit.clients.sdks import expected_request
from testkit.debian import require_program
from testkit.processes import ROOT
from tests.edge_site import open_edge
from tests.http_service import Site
from tests.test_http_lists import ORGANIZATIONS

_PAGE: Final = (ROOT / "docs" / "clients.md").read_text()
_INGEST: Final = DsnHosts(url="http://example.com", org_subdomains=True, loader_cdn_url="")


def test_the_page_lists_each_client_with_its_version() -> None:
    """In the order of the table that `make clients` prints, after which come the readers."""
    listed = re.findall(r"^\| (`[^|]+`) \| ([^|]+) \|", _PAGE, re.MULTILINE)
    rows = [(name.strip("`"), package) for names, package in listed for name in names.split(", ")]
    assert sorted(name for name, _ in rows) == sorted(client.name for client in CLIENTS)
    for client in CLIENTS:
        words = client.package.split()
        assert all(word in dict(rows)[client.name] for word in words), client.name


def test_each_client_has_the_version_that_it_is_said_to_have() -> None:
    """In the file that its package manager reads; each directory belongs to a client."""
    directories = {path.name: path for path in PROGRAMS.iterdir() if path.is_dir()}
    packages = {client.name: client.package.split() for client in CLIENTS if client.package != "consumers.md"}
    assert set(directories) == set(packages)
    texts = {name: "".join(map(_text, directories[name].glob("*.[jmx]*"))) for name in directories}
    texts["sdk-python"] = (ROOT / "requirements" / "test.txt").read_text()
    del packages["tofu"]  # its version is in the commands that install it
    for name, (package, version) in packages.items():
        module = package.rpartition(":")[2]
        assert re.search(rf"{re.escape(module)}[^0-9]*{re.escape(version)}\b", texts[name]), name


def _text(path: Path) -> str:
    return path.read_text()


async def test_the_python_sdk_sends_events_to_both_forms_of_hosts(kafka_bootstrap: str, tmp_path: Path) -> None:
    """With the id of the organization, or the organization's own; a disabled key is refused."""
    key = new_key_half()
    program = f"{sys.executable} {PROGRAMS / 'sdk-python' / 'send.py'}"
    hosts = (None, "http://relay.example.org:8000/events")
    both = [project_endpoints(_INGEST, 7, host, 3).dsn % key for host in hosts]
    assert "@o7.ingest.example.com/" in both[0]
    async with open_edge(kafka_bootstrap) as edge, ingest_service(edge.url) as ingest:
        variables = {"http_proxy": ingest.url, "no_proxy": ""}
        await edge.write(key, projectId=3)
        for dsn in both:
            await run_program(program, tmp_path, {**variables, "DSN": dsn})
        await edge.write(key, 2, projectId=3, isActive=False)
        await run_program(program, tmp_path, {**variables, "DSN": both[0]})
        statuses = zip([*both, both[0]], (200, 200, 403), strict=True)
        received = list(dict.fromkeys(ingest.received))  # the SDK reports a refused event in another request
        assert received == [expected_request(dsn, status) for dsn, status in statuses]


async def test_the_client_that_is_generated_from_sentrys_schema_manages_projects_and_keys(site: Site) -> None:
    """With a token of the organization: it has one package, which is installed in seconds."""
    await require_program("npm", package="npm")
    [client] = [client for client in CLIENTS if client.name == "sentry-api"]
    await client.build(CACHE / client.name)
    organization, project = f"{ORGANIZATIONS}generated/", {"name": "Web", "slug": "web"}
    await site.send("POST", ORGANIZATIONS, json={"name": "Generated", "slug": "generated"})
    await site.send("POST", f"{organization}projects/", json=project)
    variables = {
        "API_URL": f"http://127.0.0.1:{site.service.settings.port}",
        "TOKEN": await site.new_token("project:admin", "org:read", organization="generated"),
        "ORG": "generated",
        "PROJECT": "web",
    }
    service = Service(variables, site.token, Ingest(0, ""))
    operations = await client.run(service, CACHE / client.name)
    assert operations[0] == "list organizations"
    assert operations[-1] == "delete project"


async def test_a_client_whose_tools_are_missing_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is 1, unless it is deselected."""
    monkeypatch.setenv("PATH", "")
    assert await asyncio.to_thread(main, ["tofu"]) == 1
    assert capsys.readouterr().out.endswith("  not run  needs go, terraform-provider-sentry\n")
    assert await asyncio.to_thread(main, ["tofu", "--skip", "tofu"]) == 0


def test_an_unknown_client_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The message lists those that exist."""
    with pytest.raises(SystemExit) as ended:
        main(["go-sentri"])
    assert ended.value.code == 2
    assert "there is no client go-sentri; the clients are reader-javascript" in capsys.readouterr().err
