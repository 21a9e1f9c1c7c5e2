"""Request headers that are lists: their lines are joined, and a weight of 0 excludes a value."""

import pytest

from service.http.docs.swagger_page import DOCUMENT
from tests.http_service import Site
from tests.raw_requests import BODY, Target
from tests.test_docs_pages import SCRIPT


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (("Accept: text/html", "Accept: application/json"), 200),
        (("Accept: text/html;q=0.9, text/plain", "Accept: */*;q=0.1"), 200),
        (("Accept: text/html", "Accept: text/plain"), 406),
        (("Accept: application/json;q=0, */*",), 406),
        (("Accept: application/json; charset=utf-8; Q=0.000",), 406),
        (("Accept: application/*;q=0, */*;q=1",), 406),
        (("Accept: application/json;q=0.001, */*;q=0",), 200),
    ],
)
async def test_the_lines_of_accept_are_one_list_with_weights(site: Site, lines: tuple[str, ...], status: int) -> None:
    """The most specific range decides."""
    target = Target(site.keys_path, site.token)
    received = await site.exchange(target.get(site.keys_path, *lines))
    assert received.startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    "lines",
    [
        ("Prefer: respond-async", "Prefer: wait=0"),
        ("Prefer: handling=lenient, return=minimal", "Prefer: foo", "Prefer: Wait = 0"),
        ('Prefer: wait="0"',),
        ("Prefer: wait=0", "Prefer: wait=9"),
    ],
)
async def test_the_lines_of_prefer_are_one_list(site: Site, lines: tuple[str, ...]) -> None:
    """The first of several preferences with the same name applies: RFC 7240, section 2."""
    head = Target(site.keys_path, site.token).head(*lines, f"Content-Length: {len(BODY)}")
    assert b"\r\nPreference-Applied: wait=0\r\n" in await site.exchange(head + BODY)


async def test_the_lines_of_if_none_match_are_one_list(site: Site) -> None:
    """The page is unchanged if any line contains its tag."""
    tag = (await site.send("GET", DOCUMENT, token="")).headers["ETag"]
    get = Target("", "").get(DOCUMENT, 'If-None-Match: "other"', f'If-None-Match: W/"third", {tag}')
    assert (await site.exchange(get)).startswith(b"HTTP/1.1 304 ")


@pytest.mark.parametrize(
    ("lines", "is_compressed"),
    [
        (("Accept-Encoding: gzip;q=0",), False),
        (("Accept-Encoding: identity", "Accept-Encoding: gzip"), True),
        (("Accept-Encoding: br, GZip;q=0.5",), True),
        (("Accept-Encoding: x-notgzip",), False),
        (("Accept-Encoding: *",), True),
        (("Accept-Encoding: gzip; q=0.0, *",), False),
    ],
)
async def test_a_page_is_compressed_only_for_clients_that_accept_gzip(
    site: Site, lines: tuple[str, ...], *, is_compressed: bool
) -> None:
    """A weight of 0 excludes a coding."""
    head = (await site.exchange(Target("", "").get(SCRIPT, *lines))).partition(b"\r\n\r\n")[0]
    assert (b"Content-Encoding: gzip" in head) == is_compressed


async def test_a_second_line_with_a_content_encoding_is_rejected(site: Site) -> None:
    """A compressed body is not parsed as text."""
    lines = ("Content-Encoding: identity", "Content-Encoding: gzip", f"Content-Length: {len(BODY)}")
    head = Target(site.keys_path, site.token).head(*lines)
    assert (await site.exchange(head + BODY)).startswith(b"HTTP/1.1 415 ")
