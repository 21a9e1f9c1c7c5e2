"""The two Secrets of the manifests: each pod reads its own, and the roles have the rights that the pods need."""

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
from tests.test_deploy import COMMAND_POD, DATABASE_PODS, DEPLOY, MANIFESTS, SECRETS, container, load

DATABASE = "documented"
"""Replaces the documented name, which a database of the embedded Postgres has already."""

SERVICE, OWNER = "projectkeys-service", "projectkeys-owner"


def secrets_in(value: Any) -> Iterator[str]:
    """Yield the name of every Secret that a manifest refers to, in any field that can name one."""
    if isinstance(value, list):
        for item in value:
            yield from secrets_in(item)
    if not isinstance(value, dict):
        return
    for key, member in value.items():
        if key == "secretName":
            yield member
        elif key in {"secretRef", "secretKeyRef", "secret"} and "name" in member:
            yield member["name"]
        elif key == "imagePullSecrets":
            yield from (reference["name"] for reference in member)
        yield from secrets_in(member)


def role(pod: str) -> str | None:
    """Return the role in the database URL of the example of a pod's Secret."""
    return urlsplit(str(load(SECRETS[pod])["stringData"]["database-url"])).username


@pytest.mark.parametrize(
    ("pod", "secret"), [(DATABASE_PODS[0], SERVICE), (DATABASE_PODS[1], OWNER), (DATABASE_PODS[2], OWNER)]
)
def test_a_pod_refers_to_its_own_secret_and_to_no_other(pod: str, secret: str) -> None:
    """The service's pods never mount the owner's Secret, and the other pods do not need the service's."""
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
def test_every_kind_of_reference_to_a_secret_is_detected(reference: dict[str, Any]) -> None:
    """The test above can fail."""
    assert list(secrets_in({"spec": {"containers": [reference]}})) == [OWNER]


def test_rendering_adds_no_secret_and_no_url() -> None:
    """The kustomization has no generator and no patch, and only the Job refers to the owner's Secret."""
    kustomization = load("kustomization.yaml")
    assert kustomization.keys() == {"apiVersion", "kind", "resources", "images"}
    texts = {path.name: path.read_text() for path in MANIFESTS.iterdir()}
    assert {name for name, text in texts.items() if OWNER in text} == {"migrate-job.yaml"}
    assert not any("postgresql://" in text for text in texts.values())
    settings = load("config-map.yaml")["data"]
    assert {name for name in settings if name.startswith(("DATABASE", "PG"))} == {"DATABASE_URL_FILE"}


def test_the_examples_have_two_roles_and_verify_the_server_certificate() -> None:
    """The migration grants privileges to the role that the service connects as."""
    assert role("migrate-job.yaml") == role(COMMAND_POD) != role("deployment.yaml")
    assert container("migrate-job.yaml")["args"] == ["migrate", "--grant-to", role("deployment.yaml")]
    for pod in DATABASE_PODS:
        url = load(SECRETS[pod])["stringData"]["database-url"]
        assert parse_qs(urlsplit(url).query)["sslmode"] == ["verify-full"]


@pytest.fixture
async def urls(servers: Servers) -> AsyncIterator[dict[str, str]]:
    """Execute the SQL of deploy/README.md with another database name and return the database URL of each pod."""
    [block] = re.findall(r"(?ms)^ *```sql\n(.*?)```", (DEPLOY / "README.md").read_text())
    block = block.replace("CREATE DATABASE projectkeys", f"CREATE DATABASE {DATABASE}")
    admin = await asyncpg.connect(servers.postgres.url)
    for statement in filter(str.strip, block.split(";")):
        await admin.execute(statement)
    address = urlsplit(servers.postgres.url)
    passwords = {"projectkeys_owner": "OWNER-PASSWORD", "projectkeys_service": "SERVICE-PASSWORD"}
    yield {
        pod: f"postgresql://{role(pod)}:{passwords[str(role(pod))]}@{address.hostname}:{address.port}/{DATABASE}"
        for pod in DATABASE_PODS
    }
    await admin.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
    await admin.execute("DROP ROLE projectkeys_owner, projectkeys_service")
    await admin.close()


async def test_the_commands_of_all_pods_succeed_with_their_roles(
    urls: dict[str, str],
    settings: Settings,
    topic: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Migrate an empty database, create a token and serve a request; the service's role cannot create a token."""
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
    """Return the arguments of the documented `token create`, which runs in the command pod."""
    name = load(COMMAND_POD)["metadata"]["name"]
    line = rf"(?m)^kubectl -n projectkeys exec {name} -- projectkeys (token create .+)$"
    [command] = re.findall(line, (DEPLOY / "README.md").read_text())
    return str(command).split()


async def test_the_example_url_is_valid_with_its_placeholders_replaced(tmp_path: Path) -> None:
    """`sslrootcert` is a path that needs no escaping; the URL is read from a file as in the pod."""
    file = tmp_path / "database-url"
    url = load(SECRETS["deployment.yaml"])["stringData"]["database-url"]
    file.write_text(url.replace("HOST:5432", "127.0.0.1:1") + "\n")
    environment = {"DATABASE_URL_FILE": str(file)}
    async with running("migrate", "--check", environment=environment, directory=tmp_path) as process:
        assert await process.wait_for_exit(timeout=20) == 1
        assert "a file does not exist: check sslrootcert" in process.errors
