"""Every response of the service has the status, headers and body that the OpenAPI document describes."""

import re
from typing import Any

from service.http.docs.swagger_page import DOCUMENT
from tests.http_service import ORGANIZATION, Response, Site
from tests.openapi import OPENAPI, operations, resolved, validator


def _check(method: str, path: str, options: dict[str, Any], response: Response) -> None:
    """Fail if the document does not describe the status, the headers or the body, or accepts a rejected request."""
    [operation] = [
        operation
        for template, documented_method, operation in operations()
        if documented_method == method.lower()
        and re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path.partition("?")[0])
    ]
    if "json" in options:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert validator(schema).is_valid(options["json"]) == (response.status != 400)
    documented = resolved(operation["responses"][str(response.status)])
    for name, reference in documented["headers"].items():
        header = resolved(reference)
        assert name in response.headers or not header["required"], name
        if name in response.headers:
            validator(header["schema"]).validate(response.headers[name])
    if "content" not in documented:
        assert response.raw == b""
        return
    assert response.headers["Content-Type"] == "application/json"
    schema = documented["content"]["application/json"]["schema"]
    validator(schema, closed=response.status < 300).validate(response.body)


def _requests(site: Site) -> list[tuple[str, str, dict[str, Any]]]:
    """Return requests for the success of each operation and for the errors that a client can cause."""
    organization, keys = f"/api/0/organizations/{ORGANIZATION}/", site.keys_path
    idempotency_key = {"Idempotency-Key": "documented"}
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
        ("POST", keys, {"json": {"rateLimit": {"window": 60, "count": 1}}, "headers": idempotency_key}),
        ("POST", keys, {"json": {"rateLimit": {"window": 60, "count": 1}}, "headers": idempotency_key}),
        ("POST", keys, {"json": {}, "headers": idempotency_key}),
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


async def test_every_response_is_documented(site: Site) -> None:
    """Status, headers and body; for each operation and most errors."""
    seen = set[tuple[str, int]]()
    for method, path, options in _requests(site):
        response = await site.send(method, path, allow_redirects=False, **options)
        _check(method, path, options, response)
        seen.add((method, response.status))
    reader = await site.new_token("project:read", organization=ORGANIZATION)
    _check("POST", site.keys_path, {}, await site.send("POST", site.keys_path, token=reader, json={}))
    statuses = {status for _, status in seen}
    assert {200, 201, 204, 302, 308, 400, 401, 404, 406, 409, 413, 415, 422} <= statuses


async def test_the_document_needs_no_token(site: Site) -> None:
    """It contains no secret and no address of the installation."""
    response = await site.send("GET", DOCUMENT, token="")
    assert (response.status, response.headers["Content-Type"], response.body) == (
        200,
        "application/json",
        OPENAPI,
    )
    settings_ = site.service.settings
    for secret in (settings_.database_url, site.token, *settings_.kafka_bootstrap_servers, "127.0.0.1"):
        assert secret.encode() not in response.raw
