"""Translates libpq's connection parameters for the driver, which sends those that it does not know to the server.

Parameters come from the URL, from the section of the connection service file that ``service`` names, and from the PG*
variables, in this order of precedence. Each is passed on, translated, or refused by name.
"""

import configparser
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

_READ_BY_THE_DRIVER: Final[Mapping[str, str]] = {
    **dict.fromkeys(("dbname", "user", "password", "passfile", "krbsrvname"), ".*"),
    **dict.fromkeys(("sslcert", "sslkey", "sslrootcert", "sslcrl", "sslpassword"), ".*"),
    **dict.fromkeys(("ssl_min_protocol_version", "ssl_max_protocol_version"), r"TLSv1(\.[123])?"),
    "gsslib": "gssapi|sspi",
    "sslmode": "disable|allow|prefer|require|verify-ca|verify-full",
    "sslnegotiation": "postgres|direct",
    "target_session_attrs": "any|read-write|read-only|primary|standby|prefer-standby",
}
_ACCEPTED: Final[Mapping[str, str]] = {
    **_READ_BY_THE_DRIVER,
    **dict.fromkeys(("host", "hostaddr", "service", "servicefile", "options"), ".*"),
    **dict.fromkeys(("application_name", "fallback_application_name"), ".*"),
    **dict.fromkeys(("connect_timeout", "tcp_user_timeout", "keepalives"), r"-?\d{1,9}"),
    **dict.fromkeys(("keepalives_idle", "keepalives_interval", "keepalives_count"), r"-?\d{1,4}"),
    "port": r"\d{1,5}(,\d{1,5})*",
    "pgbouncer": "true|false",
    # Only the values that describe what the driver does without the parameter.
    "channel_binding": "disable|prefer",
    "client_encoding": "(?i:auto|utf-?8)",
    "gssencmode": "disable|prefer",
    "load_balance_hosts": "disable",
    "min_protocol_version": r"3\.0",
    "max_protocol_version": r"3\.[02]|latest",
    "sslcertmode": "allow",
    "sslcompression": "[01]",
    "sslsni": "1",
}
"""The accepted values of each parameter, as regular expressions."""

_ADVICE: Final[Mapping[str, str]] = {
    "channel_binding": "the driver has no channel binding; remove it, and use sslmode=verify-full",
    "client_encoding": "the service uses UTF-8; remove it",
    "gssencmode": "the driver has no GSSAPI encryption; use sslmode",
    "load_balance_hosts": "hosts are tried in their order; remove it, or use target_session_attrs=primary",
    "sslsni": "the driver always sends the name of the server; remove it",
}
_OTHER_VARIABLES: Final = {
    "application_name": "PGAPPNAME",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "dbname": "PGDATABASE",
}
_UNSUPPORTED: Final = ("require_auth", "requirepeer", "requiressl", "sslcrldir", "gssdelegation")
"""Parameters that a PG* variable may set although the driver does not have them."""

_VARIABLES: Final = {
    name: _OTHER_VARIABLES.get(name, f"PG{name.replace('_', '').upper()}") for name in (*_ACCEPTED, *_UNSUPPORTED)
}
_SOCKET_OPTIONS: Final = {
    "keepalives_idle": socket.TCP_KEEPIDLE,
    "keepalives_interval": socket.TCP_KEEPINTVL,
    "keepalives_count": socket.TCP_KEEPCNT,
    "tcp_user_timeout": socket.TCP_USER_TIMEOUT,
}


@dataclass(frozen=True, slots=True)
class ConnectionParameters:
    """How to connect.

    Attributes:
        arguments: Keyword arguments of `asyncpg.connect`.
        server_settings: Parameters of the session.
        timeout: Seconds for connecting; None if no parameter limits it.
        through_pgbouncer: Whether a parameter says so.
        socket_options: Level, option and value of each option of the socket.
        context: Returns the TLS context, with the present contents of its files; None: the driver creates it.
        host: The hosts, for the log.
        port: Their ports, for the log.
    """

    arguments: dict[str, Any]
    server_settings: dict[str, str]
    timeout: float | None
    through_pgbouncer: bool
    socket_options: tuple[tuple[int, int, int], ...]
    context: Callable[[], ssl.SSLContext] | None
    host: str
    port: str


def connection_parameters(url: str, environment: Mapping[str, str]) -> ConnectionParameters:
    """Return the parameters of ``url`` and, where it has none, those of the service file and of ``environment``.

    Raises:
        ValueError: Parameters are not supported; the message has a line for each, which starts with its source.
        OSError: The connection service file cannot be read.
    """
    parts = urlsplit(url or "postgresql://")
    given = _collect(parts, environment)
    values = {name: value for name, (value, _) in given.items()}
    if mistakes := [*_mistakes(given), *_contradictions(given)]:
        raise ValueError("\n".join(mistakes))
    login, at, _ = parts.netloc.rpartition("@")
    database = parts.path if parts.path != "/" else ""
    hosts, ports = _addresses(parts, values)
    is_system = values.get("sslrootcert") == "system"
    for_driver = {name: value for name, value in values.items() if name in _READ_BY_THE_DRIVER}
    if is_system:
        del for_driver["sslrootcert"]
    name = values.get("application_name") or values.get("fallback_application_name") or "projectkeys"
    options = {"options": values["options"]} if values.get("options") else {}
    timeout = int(values.get("connect_timeout", 0))
    return ConnectionParameters(
        arguments={
            "dsn": f"postgresql://{login}{at}{database}?{urlencode(for_driver)}".rstrip("?"),
            "host": hosts or None,
            "port": ports,
        },
        server_settings={"application_name": name, **options},
        timeout=float(timeout) if timeout > 0 else None,
        through_pgbouncer=values.get("pgbouncer") == "true",
        socket_options=tuple(_socket_options(values)),
        context=partial(_system_context, values) if is_system else None,
        host=",".join(hosts) or "localhost",
        port=",".join(map(str, ports)),
    )


def _collect(parts: SplitResult, environment: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return the value of each parameter and its source, which error messages name."""
    given = {name: (environment[source], source) for name, source in _VARIABLES.items() if environment.get(source)}
    in_url = {name: (value, "DATABASE_URL") for name, value in parse_qsl(parts.query)}
    if "database" in in_url:
        in_url["dbname"] = in_url.pop("database")
    service, source = (given | in_url).get("service", ("", ""))
    if service:
        file, _ = (given | in_url).get("servicefile", ("", ""))
        section = _read_service(service, file, environment)
        if section is None:
            raise ValueError(f"{source}: the connection service file has no service {service!r}.")
        given |= {name: (value, f"the service {service}") for name, value in section.items()}
    return given | in_url


def _read_service(service: str, file: str, environment: Mapping[str, str]) -> dict[str, str] | None:
    home, system = environment.get("HOME", "/"), environment.get("PGSYSCONFDIR", "/etc/postgresql-common")
    parser = configparser.RawConfigParser()
    for path in [Path(file)] if file else [Path(system, "pg_service.conf"), Path(home, ".pg_service.conf")]:
        try:
            parser.read(path)
        except (configparser.Error, UnicodeDecodeError):  # the text can contain a password
            raise ValueError(f"PGSERVICEFILE: {path} is not a connection service file.") from None
    return dict(parser[service]) if parser.has_section(service) else None


def _mistakes(given: Mapping[str, tuple[str, str]]) -> list[str]:
    mistakes = []
    for name, (value, source) in given.items():
        accepted = _ACCEPTED.get(name)
        if accepted is None:
            mistakes.append(
                f"{source}: the parameter {name} is not supported; remove it, or set a parameter of the server by "
                "options=-c%20name%3Dvalue."
            )
        elif not re.fullmatch(accepted, value, re.DOTALL):
            advice = _ADVICE.get(name, f"it must match {accepted}")
            mistakes.append(f"{source}: {name}={value} is not supported: {advice}.")
    return mistakes


def _contradictions(given: Mapping[str, tuple[str, str]]) -> list[str]:
    mode, _ = given.get("sslmode", ("", ""))
    is_system = given.get("sslrootcert", ("", ""))[0] == "system"
    wrong = {}
    if is_system and mode not in {"", "verify-full"}:
        wrong["sslrootcert"] = "system needs sslmode=verify-full"
    if is_system or mode == "verify-full":
        wrong["hostaddr"] = "the driver cannot verify the host name; remove it"
    if is_system:
        names = ("sslcrl", "ssl_min_protocol_version", "ssl_max_protocol_version")
        wrong |= dict.fromkeys(names, "it does not work with sslrootcert=system; remove it")
    return [f"{given[name][1]}: {name}: {text}." for name, text in wrong.items() if name in given]


def _addresses(parts: SplitResult, values: Mapping[str, str]) -> tuple[list[str], list[int]]:
    """Return the hosts, none for the driver's default, and a port for each; hosts of the URL precede parameters."""
    default = [int(port) for port in values.get("port", "5432").split(",")]
    hosts, ports = [host for host in values.get("host", "").split(",") if host], default
    if in_url := parts.netloc.rpartition("@")[2]:
        found = [re.fullmatch(r"\[?(.*?)\]?(?::(\d+))?", part) for part in in_url.split(",")]
        hosts = [unquote(match[1]) or "localhost" for match in found if match]
        ports = [int(match[2]) if match[2] else default[0] for match in found if match]
    return values["hostaddr"].split(",") if values.get("hostaddr") else hosts, ports


def _socket_options(values: Mapping[str, str]) -> list[tuple[int, int, int]]:
    options = [] if values.get("keepalives") == "0" else [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, option in _SOCKET_OPTIONS.items():
        if (value := int(values.get(name, 0))) > 0:
            options.append((socket.IPPROTO_TCP, option, value))
    return options


def _system_context(values: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that trusts the authorities of the system.

    Raises:
        OSError: The client certificate cannot be read.
    """
    context = ssl.create_default_context()
    if "sslcert" in values:
        context.load_cert_chain(values["sslcert"], values.get("sslkey"), values.get("sslpassword", ""))
    return context
