"""Schemathesis asks the running service what its document allows, and what it does not, with all its checks."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from service.app import Service, build, publishing
from service.dev.ports import free_port
from service.domain.model import Project
from service.domain.scopes import SCOPES
from service.http.docs.swagger_page import DOCUMENT
from service.http.routes import RESOURCES
from service.server import listening
from service.settings import Settings
from tests.conftest import make_project

_ROOT = Path(__file__).parents[1]
_PATIENCE = 300.0
"""Seconds; the longer of the two runs takes some 15 on two idle cores."""

_CONFIG = """\
base-url = "{url}"
hooks = "tests.schemathesis_hooks"
continue-on-failure = true
warnings = false

[cache]
enabled = false

[phases.stateful.inference] # of the chains only those that the document names
algorithms = []

[checks.negative_data_rejection] # what was moved is told before the body is read
expected-statuses = [302, 308, 400, 401, 403, 404, 405, 406, 409, 410, 413, 415, 422, "5xx"]

"""
_PINNED = """\
[parameters]
"path.organization" = "{organization}"
"path.project" = "{project}"
"""


@asynccontextmanager
async def _running(settings: Settings, topic: str) -> AsyncIterator[tuple[Service, Project, str]]:
    """The service with its publisher, so that `Prefer: wait` has something to wait for; a project, and a token."""
    own = replace(settings, kafka_topic=topic, host="127.0.0.1", port=free_port(), ops_port=free_port())
    joined = build(own)
    async with publishing(joined), listening(joined):
        token = await joined.api.tokens.create("schemathesis", scopes=SCOPES)
        yield joined, await make_project(joined), token


async def _schemathesis(url: str, token: str, config: Path, *options: str) -> str:
    """What it said; fails if it found anything."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", f"--config-file={config}", "run", f"{url}{DOCUMENT}"),
        *("--checks=all", f"--header=Authorization: Bearer {token}", "--no-color"),
        *("--generation-database=none", *options),
        cwd=_ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_PATIENCE):
            said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    if process.returncode != 0:
        pytest.fail(said.decode(), pytrace=False)
    return said.decode()


def _generated(said: str) -> int:
    found = re.search(r"(\d+) generated", said)
    assert found is not None, said
    return int(found[1])


async def test_the_service_does_what_its_document_says(
    settings: Settings, topic: str, tmp_path: Path
) -> None:
    """Good and bad requests to every operation, and chains of them: documented answers, and never a 5xx.

    First about one project, which must not be deleted; then about whatever one request makes for the next.
    """
    config = tmp_path / "schemathesis.toml"
    async with _running(settings, topic) as (service, project, token):
        url = f"http://127.0.0.1:{service.settings.port}"
        pinned = _PINNED.format(organization=project.organization.id, project=project.id)
        config.write_text(_CONFIG.format(url=url) + pinned)
        options = ("--seed=1", "--max-examples=6")
        about_one = await _schemathesis(url, token, config, *options, "--exclude-operation-id=deleteProject")
        config.write_text(_CONFIG.format(url=url))
        about_all = await _schemathesis(url, token, config, *options, "--phases=stateful")
    operations = sum(len(one.methods) for one in RESOURCES)
    assert f"Tested: {operations - 1}" in about_one
    assert f"Selected: {operations}/{operations}" in about_all
    assert _generated(about_one) > 500
    assert _generated(about_all) > 50
