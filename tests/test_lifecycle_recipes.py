"""The recipes of docs/key-lifecycle.md: their commands run against the service and are safe to repeat."""

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import yaml

from testkit.debian import require_program
from testkit.documentation import code_blocks
from testkit.processes import ROOT
from tests.http_service import Site

_BLOCKS = {(block.section, block.language): block.text for block in code_blocks(ROOT / "docs" / "key-lifecycle.md")}
_URL = "https://keys.example.com/api/0/projects/acme/web/keys"
_KUBECTL = """#!/bin/sh
case "$*" in create*) echo "$@" ;; apply*) cat >> applied ;; esac
"""


async def _run(script: str, directory: Path, **environment: str) -> None:
    for program in ("curl", "jq"):
        await require_program(program, package=program)
    process = await asyncio.create_subprocess_exec(
        *("sh", "-ec", script),
        cwd=directory,
        env={"PATH": f"{directory}{os.pathsep}{os.environ['PATH']}", **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


def _keys_url(site: Site) -> str:
    return f"http://127.0.0.1:{site.service.settings.port}{site.keys_path.rstrip('/')}"


async def _named(site: Site, name: str) -> list[str]:
    keys = (await site.send("GET", f"{site.keys_path}?per_page=100")).body
    return [key["dsn"]["public"] for key in keys if key["name"] == name]


async def test_the_job_writes_the_same_secret_each_time(site: Site, tmp_path: Path) -> None:
    """`kubectl` is a script that stores what would be applied."""
    job: dict[str, Any] = yaml.safe_load(_BLOCKS["Kubernetes Job", "yaml"])
    [container] = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-ec"]
    assert container["env"][0]["value"] == _URL
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(_KUBECTL)
    kubectl.chmod(0o700)
    for _ in range(2):
        await _run(container["args"][0], tmp_path, KEYS=_keys_url(site), TOKEN=site.token)
    [dsn] = await _named(site, "kubernetes")
    assert set(re.findall("SENTRY_DSN=(\\S+)", (tmp_path / "applied").read_text())) == {dsn}


async def test_the_command_of_terraform_creates_one_key(site: Site, tmp_path: Path) -> None:
    """However often it runs."""
    [command] = re.findall(r"command = <<-EOT\n(.*?)\n +EOT", _BLOCKS["Terraform", "hcl"], re.DOTALL)
    assert _URL in command
    for _ in range(2):
        await _run(command.replace(_URL, _keys_url(site)), tmp_path, SENTRY_AUTH_TOKEN=site.token)
    assert len(await _named(site, "terraform")) == 1


def test_the_generator_of_external_secrets_sends_the_request() -> None:
    """With the token of its secret; the secret has the public DSN."""
    generator, secret = yaml.safe_load_all(_BLOCKS["external-secrets", "yaml"])
    assert (generator["spec"]["method"], generator["spec"]["body"]) == ("PUT", "{}")
    assert generator["spec"]["url"] == f"{_URL}/by-name/kubernetes/"
    assert secret["spec"]["target"]["template"]["data"] == {"SENTRY_DSN": "{{ .public }}"}
