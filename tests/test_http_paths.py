"""Paths that contain no valid id, slug or key, and unknown paths."""

import pytest

from tests.http_service import NOT_FOUND, ORGANIZATION, Site, storing_nothing

_KEYS = "/api/0/projects/{organization}/{project}/keys/{key}"
KEY = "0" * 32
INVALID_NAMES = [
    "%00",
    "a%00b",
    "%2F",
    "%2e%2e%2f",
    "..%2F..",
    "%ED%A0%80",
    "%FF",
    "'",
    "'%20OR%201=1--",
    "%0D%0ASet-Cookie:x",
    "%F0%9F%94%91",
    "%D9%A3",
    "+1",
    "-1",
    "1e3",
    "0x1",
    "00",
    "9223372036854775807",
    "9223372036854775808",
    "9" * 400,
    "a" * 4000,
    "%25",
    "*",
    "null",
]


@pytest.mark.parametrize("part", INVALID_NAMES)
@pytest.mark.parametrize("position", ["organization", "project", "key"])
async def test_an_invalid_id_slug_or_key_is_404(site: Site, position: str, part: str) -> None:
    """For reads and writes, as for one that does not exist; nothing is stored."""
    names = {"organization": ORGANIZATION, "project": site.project, "key": f"{KEY}/", position: part}
    if position == "key":
        names["key"] = f"{part}/"
    path = _KEYS.format(**names)
    methods = ["GET", "PUT", "DELETE"]
    lines = [
        "Host: a",
        "Connection: close",
        f"Authorization: Bearer {site.token}",
        "Content-Length: 0",
        "",
        "",
    ]
    async with storing_nothing(site):
        for method in methods:
            response = await site.exchange("\r\n".join([f"{method} {path} HTTP/1.1", *lines]).encode())
            assert response.startswith(b"HTTP/1.1 404 "), response
            assert response.endswith(b'{"detail":"The requested resource does not exist"}')
            assert b"Set-Cookie" not in response


@pytest.mark.parametrize(
    ("path", "info"),
    [
        ("/api/0/nowhere/", None),
        ("/api/0/teams/", None),
        (f"/api/0/projects/{ORGANIZATION}/pump-station/keys/{KEY}/nothing/", None),
        (f"/api/0/projects/{ORGANIZATION}//keys/", None),
        (f"/api/0//projects/{ORGANIZATION}/pump-station/keys/", None),
        ("/api/0/nowhere", None),
        ("/favicon.ico", None),
        (f"/api/0/projects/{ORGANIZATION}/pump-station/keys/{KEY}/nothing", None),
    ],
)
async def test_an_unknown_path_is_an_empty_404(site: Site, path: str, info: None) -> None:
    """For every method, without credentials."""
    for method in ("GET", "POST", "DELETE"):
        response = await site.send(method, path, token="")
        assert (response.status, response.body) == (404, info)


@pytest.mark.parametrize("path", ["/api/0/organizations", f"/api/0/projects/{ORGANIZATION}/pump-station/keys"])
async def test_a_missing_trailing_slash_is_reported(site: Site, path: str) -> None:
    """As JSON if the request is JSON, otherwise as text."""
    sentence = "Route not found, did you forget a trailing slash?"
    json = await site.send("POST", path, headers={"Content-Type": "application/json; x"}, data=b"{}")
    assert (json.status, json.body) == (404, {"info": f"{sentence} try: {path}/"})
    text = await site.send("GET", path, token="")
    assert text.headers["Content-Type"].startswith("text/plain")
    assert text.raw.decode() == f"{sentence}\n\ntry: {path}/\n{' ' * (len('try: ') + len(path))}^"


async def test_a_key_is_found_by_its_exact_public_key(site: Site) -> None:
    """Also if the path is percent-encoded."""
    key = (await site.create({})).body["id"]
    encoded = "".join(f"%{ord(character):02X}" for character in key)
    line = f"GET {site.keys_path}{encoded}/ HTTP/1.1"
    head = "\r\n".join([line, "Host: a", "Connection: close", f"Authorization: Bearer {site.token}", "", ""])
    assert (await site.exchange(head.encode())).startswith(b"HTTP/1.1 200 ")
    assert (await site.send("GET", f"{site.keys_path}{key[::-1]}/")).body == NOT_FOUND
