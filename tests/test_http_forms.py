"""Bodies that forms send, and answers that nobody could read."""

from typing import Any

import pytest

from service.http.forms import _NESTED
from service.http.schemas import LoaderOptionsField, NewProjectKeyBody, ProjectKeyChangeBody, RateLimitField
from tests.http_service import NOT_FOUND, ORGANIZATION, Site, storing_nothing

FORM = "application/x-www-form-urlencoded"
BOUNDARY = "----b"
MULTIPART = f"multipart/form-data; boundary={BOUNDARY}"
LIMIT = {"window": 60, "count": 10}


def multipart(*fields: tuple[str, str]) -> bytes:
    """A form of these fields."""
    parts = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields
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
    (b"public=&secret=", {"isActive": True}),
    (b"browserSdkVersion=8.x", {"browserSdkVersion": "8.x"}),
    (b"browserSdkVersion=", {"browserSdkVersion": "10.x"}),
    (b"useCase=&name.first=x&unknown=1&=&&", {"isActive": True}),
]


@pytest.mark.parametrize(("raw", "expected"), CREATED)
async def test_a_form_makes_a_key(site: Site, raw: bytes, expected: dict[str, Any]) -> None:
    """Nested members have a dot; what is empty says nothing; what has no dot there is not looked at."""
    answer = await site.post(raw, content_type=FORM)
    assert answer.status == 201
    assert {**answer.body, **expected} == answer.body


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
async def test_so_does_one_in_parts(
    site: Site, fields: list[tuple[str, str]], expected: dict[str, Any]
) -> None:
    """The same members."""
    answer = await site.post(multipart(*fields), content_type=MULTIPART)
    assert answer.status == 201
    assert {**answer.body, **expected} == answer.body


async def test_a_file_in_a_form_is_left_out(site: Site) -> None:
    """No member of a key is one."""
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
async def test_a_form_changes_only_what_it_names(site: Site, raw: bytes, changed: dict[str, Any]) -> None:
    """A switch that a form leaves out is not off."""
    before = (await site.create({"name": "First", "rateLimit": LIMIT})).body
    answer = await site.send(
        "PUT", f"{site.keys_path}{before['id']}/", data=raw, headers={"Content-Type": FORM}
    )
    assert (answer.status, answer.body) == (200, {**before, **changed})


TOO_MANY = {"detail": "The form has more than 100 fields."}


@pytest.mark.parametrize(
    ("raw", "content_type", "refusal"),
    [
        (b"rateLimit.count=5", FORM, {"rateLimit": {"window": ["This field is required."]}}),
        (b"public=zz", FORM, {"public": ["This value does not match the required pattern."]}),
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
            {
                "detail": "Multipart form parse error - the body has not the boundary that the Content-Type names."
            },
        ),
        (
            multipart(("public", "zz")),
            MULTIPART,
            {"public": ["This value does not match the required pattern."]},
        ),
    ],
)
async def test_a_form_that_cannot_be_used_is_400(
    site: Site, raw: bytes, content_type: str, refusal: Any
) -> None:
    """In the words that JSON has."""
    async with storing_nothing(site):
        answer = await site.post(raw, content_type=content_type)
    assert (answer.status, answer.body) == (400, refusal)


@pytest.mark.parametrize(
    ("content_type", "told"),
    [
        ("text/plain", "text/plain"),
        ("application/xml; a=b", "application/xml; a=b"),
        ("application/jsonx", "application/jsonx"),
        ("json", "json"),
        ("*/*", "*/*"),
    ],
)
async def test_a_body_of_another_type_is_415(site: Site, content_type: str, told: str) -> None:
    """The type stands in the answer as it was sent."""
    async with storing_nothing(site):
        answer = await site.post(b"{}", content_type=content_type)
    assert (answer.status, answer.body) == (415, {"detail": f'Unsupported media type "{told}" in request.'})


def test_the_members_that_have_members_are_those_of_the_schemas() -> None:
    """Or a form could not say them."""
    fields = {**NewProjectKeyBody().fields, **ProjectKeyChangeBody().fields}
    nested = {one.data_key for one in fields.values() if isinstance(one, RateLimitField | LoaderOptionsField)}
    assert nested == _NESTED


UNREADABLE = {"detail": "Could not satisfy the request Accept header."}


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
async def test_who_takes_no_json_is_406(site: Site, accept: str, status: int) -> None:
    """Each way to read; writes store nothing."""
    key = (await site.create({})).body["id"]
    path = f"{site.keys_path}{key}/"
    headers = {"Accept": accept}
    answers = [await site.send("GET", one, headers=headers) for one in (path, site.keys_path)]
    assert {answer.status for answer in answers} == {status}
    if status == 406:
        async with storing_nothing(site):
            answers += [
                await site.create({}, headers=headers),
                await site.send("PUT", path, json={"name": "x"}, headers=headers),
                await site.send("DELETE", path, headers=headers),
            ]
        assert [(answer.status, answer.body) for answer in answers] == [(406, UNREADABLE)] * 5


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "refusal"),
    [
        ("GET", "keys/" + "0" * 32 + "/", b"", 404, NOT_FOUND),
        ("POST", "keys/", b"x" * 70_000, 413, {"detail": "The request body is larger than 65536 bytes."}),
        ("POST", "keys/", b"{bad", 406, UNREADABLE),
        ("PATCH", "keys/", b"", 405, {"detail": 'Method "PATCH" not allowed.'}),
    ],
)
async def test_where_406_stands_among_the_mistakes(
    site: Site, method: str, path: str, body: bytes, status: int, refusal: Any
) -> None:
    """After what does not exist and what is too large, before what the body says."""
    headers = {"Accept": "text/html", "Content-Type": "application/json"}
    answer = await site.send(
        method, site.keys_path.replace("keys/", path), data=body or None, headers=headers
    )
    assert (answer.status, answer.body) == (status, refusal)


@pytest.mark.parametrize(("query", "status"), [("format=json", 200), ("format=", 200), ("format=xml", 404)])
async def test_json_is_the_one_format(site: Site, query: str, status: int) -> None:
    """Another one does not exist."""
    answer = await site.send("GET", f"{site.keys_path}?{query}")
    assert answer.status == status
    if status == 404:
        assert answer.body == {"detail": "Not found."}


async def test_organizations_and_projects_are_made_by_forms_too(site: Site) -> None:
    """And changed."""
    headers = {"Content-Type": FORM}
    made = await site.send("POST", "/api/0/organizations/", data=b"name=Formal&slug=formal", headers=headers)
    assert (made.status, made.body["slug"]) == (201, "formal")
    path = f"/api/0/organizations/{ORGANIZATION}/projects/"
    project = await site.send("POST", path, data=b"name=By+form&defaultKey=off", headers=headers)
    assert (project.status, project.body["slug"]) == (201, "by-form")
    changed = await site.send(
        "PUT", f"/api/0/projects/{ORGANIZATION}/by-form/", data=b"name=Renamed", headers=headers
    )
    assert (changed.status, changed.body["name"], changed.body["slug"]) == (200, "Renamed", "by-form")
