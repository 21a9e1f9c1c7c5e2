"""What callers say stays what it is: no line, no label, no header of its own, wherever it is written down."""

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

NAMELESS = ("a" * 65, "9" * 64, "-1", "0", "\u0663", "%", "'", "a b")


@pytest.mark.parametrize("form", ["json", "text"])
async def test_a_hostile_text_makes_no_line_of_its_own(settings: Settings, tmp_path: Path, form: str) -> None:
    """In a path, a query, a name, a header: each line of the log is one of ours, and none steers a terminal."""
    deployment = await deploy(settings)
    async with replica(deployment, tmp_path, LOG_FORMAT=form) as one:
        before = one.process.errors
        for text in HOSTILE:
            await _say(one, text)
        # They are written in batches.
        await poll_until(lambda: one.process.errors.removeprefix(before).count("\n") > 4 * len(HOSTILE))
        lines = one.process.errors.removeprefix(before).split("\n")[:-1]
        for line in lines:
            assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", line), ascii(line)
            if form == "json":
                assert "forged" not in json.loads(line)["event"]
            else:
                assert re.match(r"\S+Z \[\w+ *\] \w+ ", line), line


async def _say(one: DeployedReplica, text: str) -> None:
    """``text`` wherever a caller can put one."""
    raw = quote(text, errors="surrogateescape", safe="")
    body = json.dumps({"name": text}).encode()
    header = re.sub(r"[\r\n\x00]", "?", text).encode(errors="surrogateescape")
    create = f"POST {one.deployment.keys_path} HTTP/1.1"
    for line, said in (
        (f"GET /{raw}/?{raw}={raw} HTTP/1.1", b""),
        (f"GET {one.deployment.keys_path}{raw}/ HTTP/1.1", b""),
        (f"{raw} / HTTP/1.1", b""),
        (create, body),
        (create, body[:-1]),
    ):
        head = f"{line}\r\nHost: a\r\nConnection: close\r\nContent-Length: {len(said)}\r\n".encode()
        token = f"Content-Type: application/json\r\nAuthorization: Bearer {one.deployment.token}\r\n".encode()
        names = b"X-Request-Id: " + header + b"\r\nUser-Agent: " + header + b"\r\n\r\n"
        answer = await exchange(one.port, head + token + names + said)
        assert b" 5" not in answer.partition(b"\r\n")[0], (line, said, one.process.errors[-1500:])


async def test_callers_make_no_labels(site: Site) -> None:
    """Neither by paths nor by methods, nor by statuses: as many series after a thousand of them as before."""
    await _strange(site, 0)
    before = _series(site)
    for number in range(1, 60):
        await _strange(site, number)
    assert _series(site) == before
    assert not any("forged" in one or "strange" in one for one in before)


async def _strange(site: Site, number: int) -> None:
    strange = f"/api/0/projects/strange{number}/x/keys/"
    for path in (f"/strange-{number}/", f"{site.keys_path}{number:032x}/", strange):
        await site.send("GET", path)
        await site.send(f"STRANGE{number}", path)
        await site.send("GET", path, token=f"strange{number}")
    await site.exchange(f"GET /forged{number}\r\n\r\n".encode())


def _series(site: Site) -> set[str]:
    families = text_string_to_metric_families(generate_latest(site.service.registry).decode())
    return {f"{one.name}{sorted(one.labels.items())}" for family in families for one in family.samples}


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
async def test_what_is_no_id_travels_nowhere(site: Site, header: str, value: str) -> None:
    """Neither into the answer, nor into the event and the audit."""
    lines = [
        f"POST {site.keys_path} HTTP/1.1",
        "Host: a",
        f"Authorization: Bearer {site.token}",
        "Connection: close",
        f"{header}: {value}",
    ]
    answer = await site.exchange("\r\n".join([*lines, "", ""]).encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert value.strip().encode("latin-1") not in answer
    key = orjson.loads(answer.partition(b"\r\n\r\n")[2])["id"]
    headers = orjson.loads(
        await site.postgres.fetchval("SELECT headers::text FROM outbox WHERE aggregateid = $1", key)
    )
    assert value.strip() not in headers.values()
    audited = await site.postgres.fetchrow("SELECT request_id FROM audit_entry WHERE target = $1", key)
    assert audited is not None
    assert re.fullmatch("[A-Za-z0-9._-]{1,128}", audited["request_id"])


@pytest.mark.parametrize("path", [one.path for one in RESOURCES if "{" in one.path])
@pytest.mark.parametrize(
    "text", [*HOSTILE, "a" * 65, "9" * 64, "-1", "0", "\u0663", "%", "'", "a b"], ids=ascii
)
async def test_nothing_has_a_hostile_name(site: Site, path: str, text: str) -> None:
    """404 by any part of any path and any method, and Postgres is not troubled with it."""
    raw = quote(text, errors="surrogateescape", safe="")
    good = {"organization": ORGANIZATION, "project": site.project, "key_id": "0" * 32}
    resource = next(one for one in RESOURCES if one.path == path)
    for part in re.findall(r"{(\w+)}", path):
        for method in resource.methods:
            answer = await site.send(method, URL(path.format(**{**good, part: raw}), encoded=True), json={})
            assert answer.status == 404
            assert answer.body in (NOT_FOUND, None), "None where it makes another path"
