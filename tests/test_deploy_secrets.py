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

from projectkeys_servers.servers import Servers
from service.settings import Settings
from tests.commands import run
from tests.processes import Deployment, replica, running
from tests.test_deploy import DATABASE_CONTAINERS, MANIFESTS, ROOT, containers, load, manifests, secret

DATABASE = "documented"
"""Replaces the documented name, which a database of the embedded Postgres has already."""

PAGE = ROOT / "docs" / "kubernetes.md"
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


def role(container: str) -> str:
    """Return the role in the database URL of the example of a container's Secret."""
    return str(urlsplit(str(secret(container)["stringData"]["database-url"])).username)


@pytest.mark.parametrize(
    ("container", "expected"),
    [("projectkeys", SERVICE), ("migrate", OWNER), ("command", OWNER), ("edge", "projectkeys-edge")],
)
def test_a_container_mounts_its_own_secret_and_no_other(container: str, expected: str) -> None:
    """The API never mounts the owner's Secret, and the other containers do not need the service's."""
    each, pod = containers()[container]
    mounted = {mount["name"] for mount in each["volumeMounts"]}
    volumes = [volume for volume in pod["volumes"] if volume["name"] in mounted]
    assert [*secrets_in(volumes), *secrets_in(each)] == [expected]
    assert secret(container)["metadata"]["name"] == expected


def test_only_the_volumes_of_a_pod_refer_to_secrets() -> None:
    """No variable of a container has a secret: the environment appears in crash reports."""
    volumes = [pod["volumes"] for _, pod in containers().values()]
    assert {*secrets_in(manifests())} == {*secrets_in(volumes)} == {SERVICE, OWNER, "projectkeys-edge"}


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


def test_the_manifests_add_no_secret_and_no_url() -> None:
    """The kustomization has no generator and no patch."""
    [kustomization] = load(MANIFESTS / "kustomization.yaml")
    assert kustomization.keys() == {"apiVersion", "kind", "resources", "images"}
    assert not any("postgresql://" in path.read_text() for path in MANIFESTS.iterdir())
    settings = [each["data"] for each in manifests() if each["kind"] == "ConfigMap"]
    assert not {name for data in settings for name in data if name.startswith(("DATABASE", "PG"))}


def test_the_examples_have_two_roles_and_verify_the_server_certificate() -> None:
    """The migration grants privileges to the role that the service connects as."""
    assert role("migrate") == role("command") != role("projectkeys")
    assert containers()["migrate"][0]["args"][-2:] == ["--grant-to", role("projectkeys")]
    for name in DATABASE_CONTAINERS:
        url = secret(name)["stringData"]["database-url"]
        assert parse_qs(urlsplit(url).query)["sslmode"] == ["verify-full"]


@pytest.fixture
async def urls(servers: Servers) -> AsyncIterator[dict[str, str]]:
    """Execute the SQL of docs/kubernetes.md with another database name; return the database URL of each container."""
    block = re.findall(r"(?ms)^ *```sql\n(.*?)```", PAGE.read_text())[0]
    block = block.replace("CREATE DATABASE projectkeys", f"CREATE DATABASE {DATABASE}")
    admin = await asyncpg.connect(servers.postgres.url)
    for statement in filter(str.strip, block.split(";")):
        await admin.execute(statement)
    address = urlsplit(servers.postgres.url)
    passwords = {"projectkeys_owner": "OWNER-PASSWORD", "projectkeys_service": "SERVICE-PASSWORD"}
    yield {
        name: f"postgresql://{role(name)}:{passwords[role(name)]}@{address.hostname}:{address.port}/{DATABASE}"
        for name in DATABASE_CONTAINERS
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
    monkeypatch.setenv("DATABASE_URL", urls["migrate"])
    assert await run(*containers()["migrate"][0]["args"]) == 0
    capsys.readouterr()
    create = documented_command()
    monkeypatch.setenv("DATABASE_URL", urls["projectkeys"])
    assert await run(*create) == 1
    assert "permission denied" in capsys.readouterr().err
    monkeypatch.setenv("DATABASE_URL", urls["command"])
    assert await run(*create) == 0
    token = capsys.readouterr().out.strip()
    served = Deployment(replace(settings, database_url=urls["projectkeys"], kafka_topic=topic), token, "")
    async with replica(served, tmp_path) as server:
        bearer = {"Authorization": f"Bearer {token}"}
        async with ClientSession(f"http://127.0.0.1:{server.port}", headers=bearer) as session:
            response = await session.post("/api/0/organizations/", json={"name": "Acme", "slug": "acme"})
            assert response.status == 201, await response.text()


def documented_command() -> list[str]:
    """Return the arguments of the documented `token create`, which runs in the command pod."""
    line = r"(?m)^kubectl -n projectkeys exec projectkeys-command -- projectkeys (token create .+)$"
    [command] = re.findall(line, PAGE.read_text())
    return str(command).split()


async def test_the_example_url_is_valid_with_its_placeholders_replaced(tmp_path: Path) -> None:
    """`sslrootcert` is a path that needs no escaping; the URL is read from a file as in the pod."""
    file = tmp_path / "database-url"
    url = secret("projectkeys")["stringData"]["database-url"]
    file.write_text(url.replace("HOST:5432", "127.0.0.1:1") + "\n")
    environment = {"DATABASE_URL_FILE": str(file)}
    async with running("migrate", "--check", environment=environment, directory=tmp_path) as process:
        assert await process.wait_for_exit(timeout=20) == 1
        assert "a file does not exist: check sslrootcert" in process.errors
