"""Bodies of multipart/form-data: which parts are fields, and which bodies are rejected."""

import pytest

from service.http.errors import HttpError
from service.http.forms import _MAX_PART_HEADERS, parse_form, parse_multipart

TYPE = "multipart/form-data; boundary=x"
FIELD = b'Content-Disposition: form-data; name="name"'


def body(headers: bytes = FIELD, value: bytes = b"v", *, line_end: bytes = b"\r\n") -> bytes:
    """Return a form with one part."""
    return line_end.join([b"--x", *headers.split(b"\r\n"), b"", value, b"--x--", b""])


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data;boundary=x",
        'Multipart/Form-Data; Boundary="x"',
        r'multipart/form-data; boundary="\x"',
        "multipart/form-data; charset=utf-8 ; boundary = x ;; ",
        'multipart/form-data; other="; boundary=y"; boundary=x',
    ],
)
def test_the_content_type_names_the_boundary(content_type: str) -> None:
    """With or without quotes, before or after other parameters."""
    assert parse_multipart(body(), content_type) == {"name": "v"}


@pytest.mark.parametrize("boundary", ["*****", "a b", "-" * 70, "a.b[c](d)+?|\\^$"])
def test_a_boundary_has_up_to_70_ascii_characters(boundary: str) -> None:
    """Clients use more characters than RFC 2046 allows."""
    raw = body().replace(b"--x", f"--{boundary}".encode())
    quoted = boundary.replace("\\", "\\\\")
    assert parse_multipart(raw, f'multipart/form-data; boundary="{quoted}"') == {"name": "v"}


@pytest.mark.parametrize(
    ("content_type", "reason"),
    [
        ("multipart/form-data", "the Content-Type names no boundary."),
        ("multipart/form-data; boundary=", "the Content-Type names no boundary."),
        ('multipart/form-data; boundary=""', "the Content-Type names no boundary."),
        ("multipart/form-data; boundary", "the Content-Type is malformed."),
        ("multipart/form-data; boundary=x;name*", "the Content-Type is malformed."),
        ('multipart/form-data; boundary="x', "the Content-Type is malformed."),
        ('multipart/form-data; boundary="x"y', "the Content-Type is malformed."),
        ("multipart/form-data; boundary=x; boundary=x", "the Content-Type is malformed."),
        ("multipart/form-data; boundary=é", "the boundary must be 1 to 70 ASCII characters"),
        ('multipart/form-data; boundary="x "', "the boundary must be 1 to 70 ASCII characters"),
        (f"multipart/form-data; boundary={'x' * 71}", "the boundary must be 1 to 70 ASCII characters"),
        (
            "multipart/form-data; boundary=y",
            "the body does not contain the boundary of the Content-Type.",
        ),
    ],
)
def test_a_content_type_without_a_usable_boundary_is_rejected(content_type: str, reason: str) -> None:
    """400 with the reason."""
    with pytest.raises(HttpError) as rejected:
        parse_multipart(body(), content_type)
    assert rejected.value.status == 400
    assert rejected.value.body["detail"].startswith(f"Multipart form parse error - {reason}")


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (body(), "v"),
        (body(line_end=b"\n"), "v"),
        (b"a preamble\r\n" + body() + b"--x\r\n" + FIELD + b"\r\n\r\nan epilogue", "v"),
        (body().removesuffix(b"--x--\r\n"), "v"),
        (body().replace(b"--x\r\n", b"--x \t\r\n"), "v"),
        (body(value=b"--x"), None),
        (body(value=b"a--x"), "a--x"),
        (body(value=b"--xy\r\n--x-"), "--xy\r\n--x-"),
        (body(value=b"\r\na\r\n\r\nb\r\n"), "\r\na\r\n\r\nb\r\n"),
        (body(value=b"\xff"), "\ufffd"),
        (body(b"Content-Disposition: form-data;\r\n\tname=name"), "v"),
        (body(b"content-disposition:form-data;NAME=name;"), "v"),
        (body(b"Content-Type: text/plain; charset=utf-8\r\n" + FIELD), "v"),
        (body(b'Content-Disposition: form-data; other="; name=a"; name="name"'), "v"),
        (body(FIELD + b"\r\nContent-Transfer-Encoding: 8bit"), "v"),
        (body(FIELD + b'; filename="a.txt"'), None),
        (body(FIELD + b'; filename=""'), None),
        (body(FIELD + b"; filename*=utf-8''a.txt"), None),
        (body(FIELD + b"\r\nContent-Type: multipart/mixed; boundary=y"), None),
        (body(b"Content-Disposition: form-data"), None),
        (body(b"Content-Type: text/plain"), None),
        (body(b""), None),
        (b"--x--", None),
    ],
)
def test_a_part_with_a_name_is_a_field(raw: bytes, value: str | None) -> None:
    """Files, nested multiparts, the preamble and the epilogue are ignored."""
    assert parse_multipart(raw, TYPE).get("name") == value


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (b"Content-Disposition: form-data; name", "the Content-Disposition of a part is malformed."),
        (b"Content-Disposition: form-data; name*", "the Content-Disposition of a part is malformed."),
        (b'Content-Disposition: form-data; name="name', "the Content-Disposition of a part is malformed."),
        (FIELD + b"; name=other", "the Content-Disposition of a part is malformed."),
        (
            FIELD + b"\r\nContent-Transfer-Encoding: base64",
            "a part has a Content-Transfer-Encoding; send its value unencoded.",
        ),
        (b"X: " + b"x" * _MAX_PART_HEADERS, "the headers of a part are longer than 512 bytes."),
    ],
)
def test_a_malformed_part_is_rejected(headers: bytes, reason: str) -> None:
    """400 with the reason, because parsers disagree about such a part."""
    with pytest.raises(HttpError) as rejected:
        parse_multipart(body(headers), TYPE)
    assert rejected.value.status == 400
    assert rejected.value.body == {"detail": f"Multipart form parse error - {reason}"}


def test_the_headers_of_a_part_have_up_to_512_bytes() -> None:
    """Including the blank line after them."""
    padding = _MAX_PART_HEADERS - len(FIELD + b"\r\nX: \r\n\r\n")
    assert parse_multipart(body(FIELD + b"\r\nX: " + b"x" * padding), TYPE) == {"name": "v"}
    with pytest.raises(HttpError):
        parse_multipart(body(FIELD + b"\r\nX: " + b"x" * (padding + 1), b"v" * 100), TYPE)


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b"name=%C3%9c+%2B+a%3Db", "Ü + a=b"),
        (b"name=%zz%4%", "%zz%4%"),
        (b"name=a%ffb", "a\ufffdb"),
        (b"n%61me=a=b", "a=b"),
        (b"name=\xff", "\ufffd"),
        (b"&&name=a;b&", "a;b"),
    ],
)
def test_a_percent_sign_encodes_a_byte_only_before_two_hex_digits(raw: bytes, value: str) -> None:
    """Elsewhere it is literal; a semicolon is not a separator."""
    assert parse_form(raw) == {"name": value}
