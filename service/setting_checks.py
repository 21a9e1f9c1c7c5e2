"""Checks of settings; each returns a valid value in its usual form and raises ValidationError for another one."""

import re
from collections.abc import Callable
from typing import Final

from marshmallow import ValidationError
from marshmallow.validate import Range

SECONDS: Final = Range(min=0, max=3600)
TIMEOUT: Final = Range(min=0.1, max=3600)
"""Not 0, which disables a timeout in Postgres."""

_PORTS: Final = range(1, 2**16)

_HOST: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_BRACKETED: Final = r"\[[0-9A-Fa-f:.]+\]"
_LISTEN_ADDRESS: Final = re.compile(rf"{_HOST}|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%\w+)?")
_HOST_PORT: Final = re.compile(rf"({_HOST}|{_BRACKETED})(:(?P<port>[0-9]{{1,5}}))?")
_BASE_URL: Final = re.compile(
    rf"https?://(?P<host>{_HOST}|{_BRACKETED})(:(?P<port>[0-9]{{1,5}}))?(/[A-Za-z0-9._~%-]+)*"
)
_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,200}")

_KAFKA_PORT: Final = 9092


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a check that accepts ``choices`` in upper or lower case, with `_` or `-`."""
    by_name = {_folded(choice): choice for choice in choices}

    def check(text: str) -> str:
        if _folded(text) not in by_name:
            raise ValidationError(f"{text!r} is not supported; use {', '.join(choices[:-1])} or {choices[-1]}.")
        return by_name[_folded(text)]

    return check


def _folded(text: str) -> str:
    return text.lower().replace("_", "-")


def topic_name(text: str) -> str:
    """Check the name of a Kafka topic; it is shorter than Kafka allows, since other names are derived from it."""
    if not _TOPIC.fullmatch(text):
        raise ValidationError(f"{text!r} is not a valid topic name; use 1 to 200 letters, digits, '.', '_' and '-'.")
    return text


def bootstrap_servers(servers: tuple[str, ...]) -> tuple[str, ...]:
    """Check the addresses of brokers; one without a port gets Kafka's usual port."""
    if not servers:
        raise ValidationError("Must be at least one host:port.")
    return tuple(map(_host_port, servers))


def _host_port(server: str) -> str:
    protocol, separator, address = server.partition("://")
    if separator:
        raise ValidationError(
            f"{server!r} is not host:port; use {address!r}, and KAFKA_SECURITY_PROTOCOL={protocol}."
        )
    match = _HOST_PORT.fullmatch(server)
    if match is None or int(match["port"] or _KAFKA_PORT) not in _PORTS:
        raise ValidationError(
            f"{server!r} is not host:port; use for example kafka:9092 or [2001:db8::1]:9092, separated by commas."
        )
    return server if match["port"] else f"{server}:{_KAFKA_PORT}"


def listen_addresses(addresses: tuple[str, ...]) -> tuple[str, ...]:
    """Check the addresses to listen on; an empty list means every address of both families."""
    for address in addresses:
        if not _LISTEN_ADDRESS.fullmatch(address.strip("[]")):
            raise ValidationError(
                f"{address!r} is not an address; use for example 0.0.0.0 or ::, separated by commas, and PORT."
            )
    return tuple(dict.fromkeys(address.strip("[]") for address in addresses)) or ("::",)


def base_url(text: str) -> str:
    """Check a URL to which paths are appended; return it without a trailing slash."""
    for sign, part in (("@", "a user"), ("?", "a query"), ("#", "a fragment")):
        if sign in text:
            raise ValidationError(f"Must be an http or https URL without {part}; remove it.")
    match = _BASE_URL.fullmatch(text.rstrip("/"))
    if match is None or int(match["port"] or _PORTS[0]) not in _PORTS:
        raise ValidationError("Must be an http or https URL, such as https://sentry.example.com:8443/path.")
    return text.rstrip("/")
