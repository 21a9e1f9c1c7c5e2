"""`dsn check`: whether applications can send events with a DSN."""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from http.client import HTTPException
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import HTTPRedirectHandler, Request, build_opener

from service.cli.commands import (
    Commands,
    add_command,
    add_group,
    add_json_option,
    base_url,
    print_result,
    printable,
)
from service.domain.errors import CommandError
from service.domain.model import utc_now

_DSN: Final = re.compile(
    r"(?P<scheme>https?)://(?P<key>[0-9a-f]{32})(:[0-9a-f]*)?@(?P<host>[^/@?#\s]+)(?P<path>(/[^/?#\s]+)*)"
    r"/(?P<project>[0-9]{1,19})/?"
)
_MAX_DSNS: Final = 10_000
_TIMEOUT: Final = 10.0
"""Seconds for a response."""

_MAX_BYTES: Final = 1_000_000
_NOT_FOUND: Final = 404
_NOTE: Final = """The API or an edge knows the state of each:
active, disabled, expired, unknown, wrong project, wrong host or malformed."""


def add_to(commands: Commands) -> None:
    """Declare the command."""
    example = "TOKEN=… projectkeys dsn check --api https://keys.example.com --org acme https://…@…/1"
    group = add_group(commands, "dsn", summary="check DSNs", example=example, note=_NOTE)
    check = add_command(
        group,
        "check",
        summary="check whether DSNs are valid and their keys active; exit with 1 unless all are",
        example=f"{example}\n  EDGE_TOKEN=… projectkeys dsn check --edge http://projectkeys-edge < dsns.txt",
        run=_check,
    )
    check.add_argument(
        "dsn", nargs="*", metavar="DSN", help="a DSN; none: the lines of standard input, at most 10000"
    )
    where = check.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--api",
        metavar="URL",
        type=base_url,
        help="base URL of the API; the variable TOKEN has a token (project:read)",
    )
    where.add_argument(
        "--edge",
        metavar="URL",
        type=base_url,
        help="base URL of an edge; the variable EDGE_TOKEN has its token",
    )
    check.add_argument("--org", metavar="SLUG", help="organization of the keys, needed with --api")
    add_json_option(check)


def _check(options: argparse.Namespace) -> int:
    if options.api and not options.org:
        raise CommandError("--api needs --org: keys are looked up in an organization")
    lookup = _edge_state if options.edge else _api_state
    is_every_one_active = True
    for text in options.dsn or _lines():
        dsn = _DSN.fullmatch(text)
        status = "malformed" if dsn is None else _status(dsn, lookup(options, dsn["key"]))
        is_every_one_active &= status == "active" or status.startswith("active, ")
        shown = printable(text) if dsn is None else _public(dsn)
        print_result(options, {"dsn": shown, "status": status}, f"{status}: {shown}")
    return 0 if is_every_one_active else 1


def _lines() -> Iterator[str]:
    """Yield the lines of standard input that are not empty."""
    sys.stdin.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # -- a text stream of the interpreter
    found = 0
    for line in sys.stdin:
        if line.strip():
            found += 1
            if found > _MAX_DSNS:
                raise CommandError(f"standard input has more than {_MAX_DSNS} DSNs")
            yield line.strip()
    if not found:
        raise CommandError("there is no DSN: give one as an argument, or lines on standard input")


def _public(dsn: re.Match[str]) -> str:
    """Return the DSN without its secret half."""
    return f"{dsn['scheme']}://{dsn['key']}@{dsn['host']}{dsn['path']}/{dsn['project']}"


def _status(dsn: re.Match[str], key: Mapping[str, Any] | None) -> str:
    """Return what is wrong with a DSN, or "active"; ``key`` is the state of its key, None if it does not exist."""
    if key is None:
        return "unknown"
    if str(key["projectId"]) != dsn["project"]:
        return f"wrong project, the key belongs to {key['projectId']}"
    expected = str(key["dsn"]["public"])
    if expected != _public(dsn):
        return f"wrong host, the DSN of the key is {expected}"
    if not key["isActive"]:
        return "disabled"
    return "active" if key.get("expiresAt") is None else _expiry(datetime.fromisoformat(key["expiresAt"]))


def _expiry(time: datetime) -> str:
    left = time - utc_now()
    if left < timedelta():
        return "expired"
    return f"active, expires in {f'{left.days} days' if left.days else 'less than a day'}"


def _edge_state(options: argparse.Namespace, key: str) -> Mapping[str, Any] | None:
    token = os.environ.get("EDGE_TOKEN", "")
    state: Mapping[str, Any] | None = _get(f"{options.edge}/keys/{key}", {"X-Edge-Token": token} if token else {})
    return state


def _api_state(options: argparse.Namespace, key: str) -> Mapping[str, Any] | None:
    """Return a key by its public key alone: first its project, then the key."""
    headers = {"Authorization": f"Bearer {os.environ.get('TOKEN', '')}"}
    organization = quote(options.org, safe="")
    projects = _get(f"{options.api}/api/0/organizations/{organization}/projects/?query=dsn:{key}", headers)
    if projects is None:
        raise CommandError(f"there is no organization {options.org}")
    if not projects:
        return None
    project = projects[0]["id"]
    state: Mapping[str, Any] | None = _get(
        f"{options.api}/api/0/projects/{organization}/{project}/keys/{key}/", headers
    )
    return state


class _NoRedirect(HTTPRedirectHandler):
    """Sends the token to no other host."""

    def redirect_request(self, *_: object) -> None:
        """Return None: a redirect is an error."""


_OPENER: Final = build_opener(_NoRedirect)


def _get(url: str, headers: Mapping[str, str]) -> Any:
    """Return the JSON value at a URL; None for 404.

    Raises:
        CommandError: There is no such response.
    """
    try:
        with _OPENER.open(Request(url, headers=dict(headers)), timeout=_TIMEOUT) as response:  # noqa: S310 -- http(s)
            return json.loads(response.read(_MAX_BYTES))
    except HTTPError as error:
        if error.code == _NOT_FOUND:
            return None
        hint = ": check the token in TOKEN or EDGE_TOKEN" if error.code in {401, 403} else ""
        raise CommandError(f"{url} responded with {error.code}{hint}") from None
    except (OSError, HTTPException, ValueError) as error:
        raise CommandError(f"{url} cannot be read: {error}") from None
