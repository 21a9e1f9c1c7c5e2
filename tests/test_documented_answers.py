"""Every answer of the service is one that the OpenAPI document tells of: its status, its headers, its body."""

import re
from typing import Any

from service.http.docs.operations import OPERATIONS
from service.http.docs.swagger_page import DOCUMENT
from tests.http_service import ORGANIZATION, Response, Site
from tests.openapi import DOCUMENTED, operations, resolved, validator


def _check(method: str, path: str, answer: Response) -> None:
    """Fails if the document does not know the answer: its status, its headers, its body."""
    [operation] = [
        operation
        for template, known, operation in operations()
        if known == method.lower()
        and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path.partition("?")[0])
    ]
    response = resolved(operation["responses"][str(answer.status)])
    for name, reference in response["headers"].items():
        header = resolved(reference)
        assert name in answer.headers or not header["required"], name
        if name in answer.headers:
            validator(header["schema"]).validate(answer.headers[name])
    if "content" not in response:
        assert answer.raw == b""
        return
    assert answer.headers["Content-Type"] == "application/json"
    schema = response["content"]["application/json"]["schema"]
    validator(schema).validate(answer.body)
    if answer.status < 300:
        _as_documented(operation, answer.body)


def _as_documented(operation: dict[str, Any], body: Any) -> None:
    """The answer has no member that is not documented, which an open schema would let pass."""
    [known] = [one for one in OPERATIONS.values() if one.id == operation["operationId"]]
    assert known.answer is not None
    schema = known.answer(many=known.many)
    assert schema.dump(schema.load(body)) == body


def _calls(site: Site) -> list[tuple[str, str, dict[str, Any]]]:
    """A round of calls: each operation's success, and the refusals that a caller can bring about."""
    organization, keys = f"/api/0/organizations/{ORGANIZATION}/", site.keys_path
    once = {"Idempotency-Key": "documented"}
    projects = f"/api/0/projects/{ORGANIZATION}/"
    return [
        ("GET", "/api/0/internal/health/", {}),
        ("GET", "/api/0/internal/health/", {"token": ""}),
        ("GET", "/api/0/internal/health/", {"headers": {"Accept": "text/html"}}),
        ("POST", "/api/0/organizations/", {"json": {"name": "Documented"}}),
        ("POST", "/api/0/organizations/", {"json": {"name": "Documented"}}),
        ("GET", organization, {}),
        ("PUT", organization, {"json": {"name": "The Jurisdiction"}}),
        ("PUT", organization, {"json": {"ingestUrl": 1}}),
        ("GET", "/api/0/organizations/none/", {}),
        ("POST", f"{organization}projects/", {"json": {"name": "Documented"}}),
        ("POST", f"{organization}projects/", {"json": {}}),
        ("GET", f"{organization}projects/?per_page=1", {}),
        ("GET", f"{organization}projects/?cursor=x", {}),
        ("POST", keys, {"json": {"rateLimit": {"window": 60, "count": 1}}, "headers": once}),
        ("POST", keys, {"json": {"rateLimit": {"window": 60, "count": 1}}, "headers": once}),
        ("POST", keys, {"json": {}, "headers": once}),
        ("POST", keys, {"json": {"public": "d" * 32}, "headers": {"Prefer": "wait=0"}}),
        ("POST", keys, {"json": {"public": "d" * 32, "rateLimit": {"window": "x"}}}),
        ("POST", keys, {"data": b"{", "headers": {"Content-Type": "application/json"}}),
        ("POST", keys, {"data": b"x", "headers": {"Content-Type": "text/plain"}}),
        ("POST", keys, {"data": b" " * 70_000, "headers": {"Content-Type": "application/json"}}),
        ("POST", keys, {"data": {"name": "From a form", "rateLimit.count": "1", "rateLimit.window": "60"}}),
        ("GET", f"{keys}?status=active&per_page=2", {}),
        ("GET", f"{keys}?per_page=101", {}),
        ("GET", f"{organization}project-keys/", {}),
        ("GET", f"{organization}project-keys/?team=any", {}),
        ("GET", f"{keys}{'d' * 32}/", {}),
        ("PUT", f"{keys}{'d' * 32}/", {"json": {"isActive": False}}),
        ("PUT", f"{keys}{'d' * 32}/", {"json": {}}),
        ("PUT", f"{keys}{'d' * 32}/", {"json": {"isActive": "maybe"}}),
        ("PUT", f"{projects}documented/", {"json": {"slug": "documented-well"}}),
        ("PUT", f"{projects}documented-well/", {"json": {"slug": site.project}}),
        ("GET", f"{projects}documented/", {}),
        ("POST", f"{projects}documented/keys/", {"json": {}}),
        ("GET", f"{projects}documented-well/", {}),
        ("DELETE", f"{keys}{'d' * 32}/", {}),
        ("DELETE", f"{keys}{'d' * 32}/", {}),
        ("DELETE", f"{projects}documented-well/", {}),
        ("GET", f"{organization}audit-logs/?per_page=100", {}),
        ("GET", f"{organization}audit-logs/?actor=x", {}),
    ]


async def test_every_answer_is_as_the_document_says(site: Site) -> None:
    """Status, headers and body of a round of calls; each operation and most refusals are among them."""
    seen = set[tuple[str, int]]()
    for method, path, options in _calls(site):
        answer = await site.send(method, path, allow_redirects=False, **options)
        _check(method, path, answer)
        seen.add((method, answer.status))
    reader = await site.new_token("project:read", organization=ORGANIZATION)
    _check("POST", site.keys_path, await site.send("POST", site.keys_path, token=reader, json={}))
    statuses = {status for _, status in seen}
    assert {200, 201, 204, 302, 308, 400, 401, 404, 406, 409, 413, 415, 422} <= statuses


async def test_whoever_asks_gets_the_document(site: Site) -> None:
    """Without a token; no secret and no address of this installation is in it."""
    answer = await site.send("GET", DOCUMENT, token="")
    assert (answer.status, answer.headers["Content-Type"], answer.body) == (
        200,
        "application/json",
        DOCUMENTED,
    )
    settings_ = site.service.settings
    for secret in (settings_.database_url, site.token, *settings_.kafka_bootstrap_servers, "127.0.0.1"):
        assert secret.encode() not in answer.raw
