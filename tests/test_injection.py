"""Text of requests adds no log line, no metric label and no header."""

import json
import re
from pathlib import Path
from urllib.parse import quote

import orjson
import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from yarl import URL

from service.http.routes import RESOURCES
from service.settings import Settings
from testkit.http_client import exchange
from testkit.polling import poll_until
from tests.http_service import NOT_FOUND, ORGANIZATION, Site
from tests.processes import DeployedReplica, deploy, replica

HOSTILE = (
    "a\r\nlevel=error event=forged",
    'a\n{"event":"forged"}',
    "\x1b[2J\x1b[31mred",
    "\x9b31m",
    "a\u2028b\u2029c",
    "\u202eabc",
    '"} 1\nforged_metric{x="',
    "%s%d{0}${jndi:ldap://x}",
    "\x00",
    "\ufeff",
    "\udcff",
)

INVALID_NAMES = ("a" * 65, "9" * 64, "-1", "0", "\u0663", "%", "'", "a b")


@pytest.mark.parametrize("form", ["json", "text"])
async def test_hostile_text_adds_no_log_line(settings: Settings, tmp_path: Path, form: str) -> None:
    """In a path, a query, a name or a header: each line is one event without control characters."""
    deployment = await deploy(settings)
    async with replica(deployment, tmp_path, LOG_FORMAT=form) as deployed:
        before = deployed.process.errors
        for text in HOSTILE:
            await _send_everywhere(deployed, text)
        # They are written in batches.
        await poll_until(lambda: deployed.process.errors.removeprefix(before).count("\n") > 4 * len(HOSTILE))
        lines = deployed.process.errors.removeprefix(before).split("\n")[:-1]
        for line in lines:
            assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", line), ascii(line)
            if form == "json":
                assert "forged" not in json.loads(line)["event"]
            else:
                assert re.match(r"\S+Z \[\w+ *\] \w+ ", line), line


async def _send_everywhere(deployed: DeployedReplica, text: str) -> None:
    """Send ``text`` in each part of a request that can contain it."""
    raw = quote(text, errors="surrogateescape", safe="")
    body = json.dumps({"name": text}).encode()
    header = re.sub(r"[\r\n\x00]", "?", text).encode(errors="surrogateescape")
    create = f"POST {deployed.deployment.keys_path} HTTP/1.1"
    for line, content in (
        (f"GET /{raw}/?{raw}={raw} HTTP/1.1", b""),
        (f"GET {deployed.deployment.keys_path}{raw}/ HTTP/1.1", b""),
        (f"{raw} / HTTP/1.1", b""),
        (create, body),
        (create, body[:-1]),
    ):
        head = f"{line}\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(content)}\r\n".encode()
        token = f"Content-Type: application/json\r\nAuthorization: Bearer {deployed.deployment.token}\r\n".encode()
        names = b"X-Request-Id: " + header + b"\r\nUser-Agent: " + header + b"\r\n\r\n"
        response = await exchange(deployed.port, head + token + names + content)
        assert b" 5" not in response.partition(b"\r\n")[0], (line, content, deployed.process.errors[-1500:])


async def test_requests_create_no_metric_labels(site: Site) -> None:
    """Unknown paths, methods and tokens leave the set of time series unchanged."""
    await _strange(site, 0)
    before = _series(site)
    for number in range(1, 60):
        await _strange(site, number)
    assert _series(site) == before
    assert not any("forged" in series or "strange" in series for series in before)


async def _strange(site: Site, number: int) -> None:
    strange = f"/api/0/projects/strange{number}/x/keys/"
    for path in (f"/strange-{number}/", f"{site.keys_path}{number:032x}/", strange):
        await site.send("GET", path)
        await site.send(f"STRANGE{number}", path)
        await site.send("GET", path, token=f"strange{number}")
    await site.exchange(f"GET /forged{number}\r\n\r\n".encode())


def _series(site: Site) -> set[str]:
    families = text_string_to_metric_families(generate_latest(site.service.registry).decode())
    return {f"{sample.name}{sorted(sample.labels.items())}" for family in families for sample in family.samples}


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Request-Id", "a b"),
        ("X-Request-Id", "a" * 129),
        ("X-Request-Id", "\x9b31m"),
        ("X-Request-Id", "a\tb"),
        ("traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-and-more"),
        ("traceparent", "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01"),
        ("traceparent", "zz-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("traceparent", "\x9b31m" + "0" * 51),
        ("traceparent", "é" * 55),
    ],
)
async def test_an_invalid_id_is_not_copied(site: Site, header: str, value: str) -> None:
    """Neither into the response, nor into the event and the audit entry."""
    lines = [
        f"POST {site.keys_path} HTTP/1.1",
        "Host: a",
        f"Authorization: Bearer {site.token}",
        "Connection: close",
        f"{header}: {value}",
    ]
    response = await site.exchange("\r\n".join([*lines, "", ""]).encode("latin-1"))
    assert response.startswith(b"HTTP/1.1 201 ")
    assert value.strip().encode("latin-1") not in response
    key = orjson.loads(response.partition(b"\r\n\r\n")[2])["id"]
    headers = orjson.loads(
        await site.postgres.fetchval("SELECT headers::text FROM outbox WHERE aggregateid = $1", key)
    )
    assert value.strip() not in headers.values()
    audited = await site.postgres.fetchrow("SELECT request_id FROM audit_entry WHERE target = $1", key)
    assert audited is not None
    assert re.fullmatch("[A-Za-z0-9._-]{1,128}", audited["request_id"])


@pytest.mark.parametrize("path", [resource.path for resource in RESOURCES if "{" in resource.path])
@pytest.mark.parametrize("text", [*HOSTILE, *INVALID_NAMES], ids=ascii)
async def test_a_hostile_name_is_404(site: Site, path: str, text: str) -> None:
    """In each part of each path, for every method; the name of a key is any text, stored as such; a team any slug."""
    raw = quote(text, errors="surrogateescape", safe="")
    valid = {
        "organization": ORGANIZATION,
        "project": site.project,
        "key_id": "0" * 32,
        "key_name": "Name",
        "team": "t",
    }
    resource = next(resource for resource in RESOURCES if resource.path == path)
    for part in re.findall(r"{(\w+)}", path):
        for method in resource.methods:
            response = await site.send(method, URL(path.format(**{**valid, part: raw}), encoded=True), json={})
            if part == "key_name" and response.status in {200, 201}:
                assert response.body["name"] == text.strip()
                continue
            assert response.status in ({400, 404} if part in {"key_name", "team"} else {404})
            if response.status == 400:
                assert set(response.body) == {"name"}
                continue
            assert response.body in (NOT_FOUND, None), "empty if it is another path"
