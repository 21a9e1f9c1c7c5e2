"""Form bodies, and requests whose client does not accept JSON."""

from typing import Any

import pytest

from service.http.forms import _NESTED_MEMBERS
from service.http.schemas import LoaderOptionsField, NewProjectKeyBody, ProjectKeyChangeBody, RateLimitField
from tests.http_service import NOT_FOUND, ORGANIZATION, Site, storing_nothing

FORM = "application/x-www-form-urlencoded"
BOUNDARY = "----b"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
LIMIT = {"window": 60, "count": 10}

_PATTERN = "This value does not match the required pattern. The pattern is ^[a-f0-9]{32}$."


def multipart(*fields: tuple[str, str]) -> bytes:
    """Return a form with these fields."""
    parts = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields
    )
    return ("".join(parts) + f"--{BOUNDARY}--\r\n").encode()


CREATED: list[tuple[bytes, dict[str, Any]]] = [
    (b"name=Fabulous+Key", {"name": "Fabulous Key"}),
    (b"name=%C3%9Cber+%26+Co", {"name": "Über & Co"}),
    (b"name=One&name=Two", {"name": "Two"}),
    (b"rateLimit.count=10&rateLimit.window=60", {"rateLimit": LIMIT}),
    (b"rateLimit.count=&rateLimit.window=60", {"rateLimit": None}),
    (b"rateLimit=5", {"rateLimit": None}),
    (b"rateLimit[count]=5", {"rateLimit": None}),
    (b"rateLimit=", {"rateLimit": None}),
    (b"name=[backend]", {"name": "[backend]"}),
    (b"public=&secret=", {"isActive": True}),
    (b"browserSdkVersion=8.x", {"browserSdkVersion": "8.x"}),
    (b"browserSdkVersion=", {"browserSdkVersion": "10.x"}),
    (b"useCase=&name.first=x&unknown=1&=&&", {"isActive": True}),
]


@pytest.mark.parametrize(("raw", "expected"), CREATED)
async def test_a_form_creates_a_key(site: Site, raw: bytes, expected: dict[str, Any]) -> None:
    """Members of objects have a dot in their names; empty fields and objects without a dot are ignored."""
    response = await site.post(raw, content_type=FORM)
    assert response.status == 201
    assert {**response.body, **expected} == response.body


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([("name", "Fabulous Key")], {"name": "Fabulous Key"}),
        ([("name", "Über")], {"name": "Über"}),
        ([("rateLimit.count", "10"), ("rateLimit.window", "60")], {"rateLimit": LIMIT}),
        ([("dynamicSdkLoaderOptions.hasReplay", "off"), ("name", "")], {"isActive": True}),
        ([], {"isActive": True}),
    ],
)
async def test_a_multipart_form_creates_a_key(
    site: Site, fields: list[tuple[str, str]], expected: dict[str, Any]
) -> None:
    """With the same members."""
    response = await site.post(multipart(*fields), content_type=MULTIPART)
    assert response.status == 201
    assert {**response.body, **expected} == response.body


@pytest.mark.parametrize(
    "raw",
    [
        b'{"name":"x"}',
        b' \r\n {"name": "a&b=c"}',
        b'{"name":"x=y"}\n',
        b"[1]",
        b"%7B%22name%22%3A%22x%22%7D",
        b"+%5B1%5D",
    ],
)
async def test_json_without_its_content_type_is_rejected(site: Site, raw: bytes) -> None:
    """Curl sends it as a form, in which no member has such a name, so that every value would be lost."""
    async with storing_nothing(site):
        response = await site.post(raw, content_type=FORM)
    assert (response.status, response.body["detail"]) == (
        400,
        "The body looks like JSON; send it with the header Content-Type: application/json.",
    )


async def test_a_file_in_a_form_is_ignored(site: Site) -> None:
    """No member of a key is a file."""
    raw = multipart(("name", "Given")).replace(b'name="name"', b'name="name"; filename="a.txt"')
    assert (await site.post(raw, content_type=MULTIPART)).body["name"] != "Given"


@pytest.mark.parametrize(
    ("raw", "changed"),
    [
        (b"isActive=false", {"isActive": False}),
        (b"isActive=", {}),
        (b"name=", {}),
        (b"rateLimit=", {}),
        (b"rateLimit.count=&rateLimit.window=", {"rateLimit": None}),
        (b"browserSdkVersion=", {}),
        (b"name=Second", {"name": "Second", "label": "Second"}),
    ],
)
async def test_a_form_changes_only_its_members(site: Site, raw: bytes, changed: dict[str, Any]) -> None:
    """An absent boolean is not false."""
    before = (await site.create({"name": "First", "rateLimit": LIMIT})).body
    response = await site.send("PUT", f"{site.keys_path}{before['id']}/", data=raw, headers={"Content-Type": FORM})
    assert (response.status, response.body) == (200, {**before, **changed})


TOO_MANY = {"detail": "The form has more than 100 fields."}


@pytest.mark.parametrize(
    ("raw", "content_type", "error"),
    [
        (b"rateLimit.count=5", FORM, {"rateLimit": {"window": ["This field is required."]}}),
        (b"public=zz", FORM, {"public": [_PATTERN]}),
        (b"name=a%00b", FORM, {"name": ["Null characters are not allowed."]}),
        (b"a=1&" * 101, FORM, TOO_MANY),
        (multipart(*[("a", "1")] * 101), MULTIPART, TOO_MANY),
        (
            b"x",
            "multipart/form-data",
            {"detail": "Multipart form parse error - the Content-Type names no boundary."},
        ),
        (
            b"name=x",
            MULTIPART,
            {"detail": "Multipart form parse error - the body does not contain the boundary of the Content-Type."},
        ),
        (
            multipart(("public", "zz")),
            MULTIPART,
            {"public": [_PATTERN]},
        ),
    ],
)
async def test_an_invalid_form_is_rejected(site: Site, raw: bytes, content_type: str, error: Any) -> None:
    """With the error messages of JSON bodies."""
    async with storing_nothing(site):
        response = await site.post(raw, content_type=content_type)
    assert (response.status, response.body) == (400, error)


@pytest.mark.parametrize(
    ("content_type", "quoted"),
    [
        ("text/plain", "text/plain"),
        ("application/xml; a=b", "application/xml; a=b"),
        ("application/jsonx", "application/jsonx"),
        ("json", "json"),
        ("*/*", "*/*"),
        ("a" * 101, "a" * 100 + "…"),
    ],
)
async def test_a_body_of_another_type_is_415(site: Site, content_type: str, quoted: str) -> None:
    """The error quotes up to 100 characters of the type."""
    async with storing_nothing(site):
        response = await site.post(b"{}", content_type=content_type)
    assert (response.status, response.body) == (
        415,
        {"detail": f'Unsupported media type "{quoted}" in request.'},
    )


def test_forms_know_all_members_that_are_objects() -> None:
    """Those of the schemas."""
    fields = {**NewProjectKeyBody().fields, **ProjectKeyChangeBody().fields}
    object_fields = RateLimitField | LoaderOptionsField
    nested = {field.data_key for field in fields.values() if isinstance(field, object_fields)}
    assert nested == _NESTED_MEMBERS


NOT_ACCEPTABLE = {"detail": "Could not satisfy the request Accept header."}


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json", 200),
        ("application/*", 200),
        ("*/*", 200),
        ("text/html, application/json;q=0.1", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/html,*/*;q=0.8", 200),
        ("text/html", 406),
        ("application/xml, text/*", 406),
        ("application/jsonx", 406),
        ("json", 406),
    ],
)
async def test_a_client_that_does_not_accept_json_gets_406(site: Site, accept: str, status: int) -> None:
    """For reads and writes; writes store nothing."""
    key = (await site.create({})).body["id"]
    key_path = f"{site.keys_path}{key}/"
    headers = {"Accept": accept}
    responses = [await site.send("GET", path, headers=headers) for path in (key_path, site.keys_path)]
    assert {response.status for response in responses} == {status}
    if status == 406:
        async with storing_nothing(site):
            responses += [
                await site.create({}, headers=headers),
                await site.send("PUT", key_path, json={"name": "x"}, headers=headers),
                await site.send("DELETE", key_path, headers=headers),
            ]
        assert [(response.status, response.body) for response in responses] == [(406, NOT_ACCEPTABLE)] * 5


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "keys/" + "0" * 32 + "/", b"", 404, NOT_FOUND),
        ("POST", "keys/", b"x" * 70_000, 413, {"detail": "The request body is larger than 65536 bytes."}),
        ("POST", "keys/", b"{bad", 406, NOT_ACCEPTABLE),
        ("PATCH", "keys/", b"", 405, {"detail": 'Method "PATCH" not allowed.'}),
    ],
)
async def test_accept_is_checked_after_the_path_and_before_the_body(
    site: Site, method: str, path: str, body: bytes, status: int, error: Any
) -> None:
    """After 404, 405 and 413, before the content of the body."""
    headers = {"Accept": "text/html", "Content-Type": "application/json"}
    response = await site.send(method, site.keys_path.replace("keys/", path), data=body or None, headers=headers)
    assert (response.status, response.body) == (status, error)


@pytest.mark.parametrize(("query", "status"), [("format=json", 200), ("format=", 200), ("format=xml", 404)])
async def test_json_is_the_only_format(site: Site, query: str, status: int) -> None:
    """Another ``format`` is 404."""
    response = await site.send("GET", f"{site.keys_path}?{query}")
    assert response.status == status
    if status == 404:
        assert response.body == {"detail": "Not found."}


async def test_forms_create_and_update_organizations_and_projects(site: Site) -> None:
    """As JSON bodies do."""
    headers = {"Content-Type": FORM}
    created = await site.send("POST", "/api/0/organizations/", data=b"name=Formal&slug=formal", headers=headers)
    assert (created.status, created.body["slug"]) == (201, "formal")
    path = f"/api/0/organizations/{ORGANIZATION}/projects/"
    project = await site.send("POST", path, data=b"name=By+form&defaultKey=off", headers=headers)
    assert (project.status, project.body["slug"]) == (201, "by-form")
    changed = await site.send(
        "PUT", f"/api/0/projects/{ORGANIZATION}/by-form/", data=b"name=Renamed", headers=headers
    )
    assert (changed.status, changed.body["name"], changed.body["slug"]) == (200, "Renamed", "by-form")
