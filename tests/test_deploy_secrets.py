"""The manifests' two Secrets: which pod reads which, and that their roles suffice for what the pods do."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from aiohttp import ClientSession

from service.dev.servers import Servers
from service.settings import Settings
from tests.commands import run
from tests.processes import Deployment, replica, running
from tests.test_deploy import COMMAND_POD, DEPLOY, MANIFESTS, PODS, SECRETS, container, load

DATABASE = "documented"
"""The embedded Postgres has a database with the documented name."""

SERVICE, OWNER = "projectkeys-service", "projectkeys-owner"


def secrets_in(value: Any) -> Iterator[str]:
    """Name every Secret that a manifest refers to: by volume, projected volume, env, envFrom or imagePullSecrets."""
    if isinstance(value, list):
        for one in value:
            yield from secrets_in(one)
    if not isinstance(value, dict):
        return
    for key, one in value.items():
        if key == "secretName":
            yield one
        elif key in {"secretRef", "secretKeyRef", "secret"} and "name" in one:
            yield one["name"]
        elif key == "imagePullSecrets":
            yield from (reference["name"] for reference in one)
        yield from secrets_in(one)


def role(pod: str) -> str | None:
    """The role of the URL in the example of a pod's Secret."""
    return urlsplit(str(load(SECRETS[pod])["stringData"]["database-url"])).username


@pytest.mark.parametrize(("pod", "secret"), [(PODS[0], SERVICE), (PODS[1], OWNER), (PODS[2], OWNER)])
def test_a_pod_refers_to_its_own_secret_and_to_no_other(pod: str, secret: str) -> None:
    """The service's pods never get the owner's, the others need nothing of the service's."""
    assert list(secrets_in(load(pod))) == [secret]
    assert load(SECRETS[pod])["metadata"]["name"] == secret


@pytest.mark.parametrize(
    "reference",
    [
        {"volumes": [{"secret": {"secretName": OWNER}}]},
        {"volumes": [{"projected": {"sources": [{"secret": {"name": OWNER}}]}}]},
        {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": OWNER, "key": "database-url"}}}]},
        {"envFrom": [{"secretRef": {"name": OWNER}}]},
        {"imagePullSecrets": [{"name": OWNER}]},
    ],
)
def test_every_form_of_a_reference_to_a_secret_is_found(reference: dict[str, Any]) -> None:
    """The test above can fail."""
    assert list(secrets_in({"spec": {"containers": [reference]}})) == [OWNER]


def test_rendering_adds_no_secret_and_no_url() -> None:
    """The kustomization names images alone: no generator, no patch; the Job's file alone names the owner's."""
    kustomization = load("kustomization.yaml")
    assert kustomization.keys() == {"apiVersion", "kind", "resources", "images"}
    texts = {path.name: path.read_text() for path in MANIFESTS.iterdir()}
    assert {name for name, text in texts.items() if OWNER in text} == {"migrate-job.yaml"}
    assert not any("postgresql://" in text for text in texts.values())
    settings = load("config-map.yaml")["data"]
    assert {name for name in settings if name.startswith(("DATABASE", "PG"))} == {"DATABASE_URL_FILE"}


def test_the_examples_name_two_roles_and_check_the_servers_certificate() -> None:
    """The migration grants its rights to the very role that the service connects as."""
    assert role("migrate-job.yaml") == role(COMMAND_POD) != role("deployment.yaml")
    assert container("migrate-job.yaml")["args"] == ["migrate", "--grant-to", role("deployment.yaml")]
    for pod in PODS:
        url = load(SECRETS[pod])["stringData"]["database-url"]
        assert parse_qs(urlsplit(url).query)["sslmode"] == ["verify-full"]


@pytest.fixture
async def urls(servers: Servers) -> AsyncIterator[dict[str, str]]:
    """By pod the URL of its role, in a database made by the statements of deploy/README.md under another name."""
    [block] = re.findall(r"(?ms)^ *```sql\n(.*?)```", (DEPLOY / "README.md").read_text())
    block = block.replace("CREATE DATABASE projectkeys", f"CREATE DATABASE {DATABASE}")
    admin = await asyncpg.connect(servers.postgres.url)
    for statement in filter(str.strip, block.split(";")):
        await admin.execute(statement)
    place = urlsplit(servers.postgres.url)
    passwords = {"projectkeys_owner": "OWNER-PASSWORD", "projectkeys_service": "SERVICE-PASSWORD"}
    yield {
        pod: f"postgresql://{role(pod)}:{passwords[str(role(pod))]}@{place.hostname}:{place.port}/{DATABASE}"
        for pod in PODS
    }
    await admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    await admin.execute("DROP ROLE projectkeys_owner, projectkeys_service")
    await admin.close()


async def test_the_pods_commands_work_with_their_roles_from_an_empty_database_to_a_served_request(
    urls: dict[str, str],
    settings: Settings,
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The migration, `token create` as documented, and `serve`; the service's role cannot create a token."""
    monkeypatch.setenv("DATABASE_URL", urls["migrate-job.yaml"])
    assert await run(*container("migrate-job.yaml")["args"]) == 0
    capsys.readouterr()
    create = documented_command()
    monkeypatch.setenv("DATABASE_URL", urls["deployment.yaml"])
    assert await run(*create) == 1
    assert "permission denied" in capsys.readouterr().err
    monkeypatch.setenv("DATABASE_URL", urls[COMMAND_POD])
    assert await run(*create) == 0
    token = capsys.readouterr().out.strip()
    served = Deployment(replace(settings, database_url=urls["deployment.yaml"], kafka_topic=topic), token, "")
    async with replica(served, tmp_path) as server:
        bearer = {"Authorization": f"Bearer {token}"}
        async with ClientSession(f"http://127.0.0.1:{server.port}", headers=bearer) as session:
            response = await session.post("/api/0/organizations/", json={"name": "Acme", "slug": "acme"})
            assert response.status == 201, await response.text()


def documented_command() -> list[str]:
    """The arguments of `token create` in the instructions, which run it in the command pod."""
    name = load(COMMAND_POD)["metadata"]["name"]
    line = rf"(?m)^kubectl -n projectkeys exec {name} -- projectkeys (token create .+)$"
    [command] = re.findall(line, (DEPLOY / "README.md").read_text())
    return str(command).split()


async def test_the_url_of_the_example_is_read_as_it_is_written(tmp_path: Path) -> None:
    """Only its placeholders change: `sslrootcert` is a path without escapes, in a file as the pod has it."""
    file = tmp_path / "database-url"
    url = load(SECRETS["deployment.yaml"])["stringData"]["database-url"]
    file.write_text(url.replace("HOST:5432", "127.0.0.1:1") + "\n")
    environment = {"DATABASE_URL_FILE": str(file)}
    async with running("migrate", "--check", environment=environment, directory=tmp_path) as process:
        assert await process.wait_for_exit(timeout=20) == 1
        assert "a file is not there: look at sslrootcert" in process.errors
