"""Schemathesis sends valid and invalid requests to the running service, with all its checks."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from projectkeys_servers.ports import free_port
from service.app import Service, build, publishing
from service.domain.model import Project
from service.domain.scopes import SCOPES
from service.http.docs.swagger_page import DOCUMENT
from service.http.routes import RESOURCES
from service.server import listening
from service.settings import Settings
from tests.conftest import make_project

_ROOT = Path(__file__).parents[1]
_TIMEOUT = 300.0
"""Seconds; the longer of the two runs takes about 15 on two idle cores."""

_CONFIG = """\
base-url = "{url}"
hooks = "tests.schemathesis_hooks"
continue-on-failure = true
warnings = false

[cache]
enabled = false

[phases.stateful.inference] # only the links in the document
algorithms = []

[checks.negative_data_rejection] # a redirect is sent before the body is read
expected-statuses = [302, 308, 400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, "5xx"]

"""
_PINNED = """\
[parameters]
"path.organization" = "{organization}"
"path.project" = "{project}"
"""


@asynccontextmanager
async def _running(settings: Settings, topic: str) -> AsyncIterator[tuple[Service, Project, str]]:
    """Start the service with its publisher, which `Prefer: wait` waits for; yield it with a project and a token."""
    own = replace(settings, kafka_topic=topic, host=("127.0.0.1",), port=free_port(), ops_port=free_port())
    service = build(own)
    async with publishing(service), listening(service):
        token = await service.use_cases.tokens.create("schemathesis", scopes=SCOPES)
        yield service, await make_project(service), token


async def _schemathesis(url: str, token: str, config: Path, *options: str) -> str:
    """Run schemathesis and return its output; fail the test if it found anything."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", f"--config-file={config}", "run", f"{url}{DOCUMENT}"),
        *("--checks=all", f"--header=Authorization: Bearer {token}", "--no-color"),
        *("--generation-database=none", *options),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_TIMEOUT):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0:
        pytest.fail(output.decode(), pytrace=False)
    return output.decode()


def _generated(output: str) -> int:
    found = re.search(r"(\d+) generated", output)
    assert found is not None, output
    return int(found[1])


async def test_the_service_conforms_to_its_document(settings: Settings, topic: str, tmp_path: Path) -> None:
    """Valid and invalid requests to every operation get documented responses, and never a 5xx.

    The first run uses a fixed project, which must not be deleted; the second follows the document's links from each
    created resource.
    """
    config = tmp_path / "schemathesis.toml"
    async with _running(settings, topic) as (service, project, token):
        url = f"http://127.0.0.1:{service.settings.port}"
        pinned = _PINNED.format(organization=project.organization.id, project=project.id)
        config.write_text(_CONFIG.format(url=url) + pinned)
        # A stream does not end.
        options = ("--seed=1", "--max-examples=6", "--exclude-operation-id=streamEvents")
        fixed_run = await _schemathesis(url, token, config, *options, "--exclude-operation-id=deleteProject")
        config.write_text(_CONFIG.format(url=url))
        linked_run = await _schemathesis(url, token, config, *options, "--phases=stateful")
    operations = sum(len(resource.methods) for resource in RESOURCES)
    assert f"Tested: {operations - 2}" in fixed_run
    assert f"Selected: {operations - 1}/{operations}" in linked_run
    assert _generated(fixed_run) > 500
    assert _generated(linked_run) > 50
