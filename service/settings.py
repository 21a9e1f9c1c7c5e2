"""The settings: read once from the environment, every mistake reported at once."""

import os
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, Final, cast

from environs import EnvValidationError, FileAwareEnv
from marshmallow.validate import OneOf, Range, Regexp

_HTTP_URL: Final = Regexp(
    r"^https?://[^/\s]+(/\S*[^/\s])?$", error="Not an http or https URL without a slash at its end."
)
_OPTIONAL_HTTP_URL: Final = Regexp(r"^(https?://[^/\s]+(/\S*)?)?$", error="Not an http or https URL.")
# Stricter than the driver, which takes what follows an unescaped character of a password for a port and repeats it.
_DATABASE_URL: Final = Regexp(
    r"^$|^postgres(ql)?://([^@/?#\s]*@)?[^@/?#\s:\[]*(\[[^@/?#\s]*\])?(:[0-9]+)?(,[^@/?#\s]*)*"
    r"(/[^?#\s]*)?(\?([^&=#\s]+=[^&#\s]*(&[^&=#\s]+=[^&#\s]*)*)?)?$",
    error="Not of the form postgresql://user:password@host:5432/database; special characters in the password are "
    "written as %2F and the like.",
)
_SECONDS: Final = Range(min=0, max=3600)
_BOUND: Final = Range(min=0.1, max=3600)  # never 0, which Postgres takes for no bound at all
_PORT: Final = Range(min=1, max=65535)


class SettingsError(Exception):
    """The environment holds mistakes; the message has a line for each."""


def _setting(
    default: Any,
    kind: str,
    description: str,
    *,
    check: Callable[[Any], Any] | None = None,
    secret: bool = False,
) -> Any:
    about = {"kind": kind, "description": description, "check": check, "secret": secret}
    return field(default=default, metadata=about, repr=not secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting under its name in lower case; times are seconds."""

    port: int = _setting(8080, "int", "where the API listens", check=_PORT)
    ops_port: int = _setting(8081, "int", "where /livez, /readyz and /metrics are", check=_PORT)
    host: str = _setting("0.0.0.0", "str", "the address that both listen on")  # noqa: S104 -- a container's only address
    database_url: str = _setting(
        "", "str", "postgresql://…; unset: the PG* variables decide", check=_DATABASE_URL, secret=True
    )
    database_pool_size: int = _setting(
        10, "int", "connections to Postgres at most", check=Range(min=2, max=1000)
    )
    database_pgbouncer: bool = _setting(
        default=False,
        kind="bool",
        description="Postgres is reached through PgBouncer in transaction mode: nothing is prepared by name",
    )
    kafka_bootstrap_servers: tuple[str, ...] = _setting(("127.0.0.1:9092",), "list", "host:port,host:port")
    kafka_topic: str = _setting(
        "project-keys", "str", "the topic of the events", check=Regexp(r"^[a-zA-Z0-9_-]{1,200}$")
    )
    kafka_security_protocol: str = _setting(
        "PLAINTEXT",
        "str",
        "PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
        check=OneOf(["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
    )
    kafka_sasl_mechanism: str = _setting(
        "PLAIN",
        "str",
        "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
        check=OneOf(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]),
    )
    kafka_sasl_username: str = _setting("", "str", "the user for SASL")
    kafka_sasl_password: str = _setting("", "str", "the password or, for OAUTHBEARER, the token", secret=True)
    kafka_ssl_cafile: str = _setting("", "str", "certificates that sign the brokers'; unset: the system's")
    kafka_ssl_certfile: str = _setting("", "str", "the certificate shown to the brokers")
    kafka_ssl_keyfile: str = _setting("", "str", "the private key of that certificate")
    public_url: str = _setting(
        "", "str", "base of the API's own links; unset: http://127.0.0.1:PORT", check=_OPTIONAL_HTTP_URL
    )
    ingest_url: str = _setting("http://127.0.0.1:9000", "str", "base of every DSN", check=_HTTP_URL)
    org_subdomains: bool = _setting(
        default=False, kind="bool", description="put o<organization id>.ingest. before the DSN's host"
    )
    loader_cdn_url: str = _setting(
        "", "str", "base of the browser loader; unset: INGEST_URL", check=_OPTIONAL_HTTP_URL
    )
    shard_lease: float = _setting(
        5.0,
        "float",
        "seconds after which another replica publishes what a dead one owned",
        check=Range(min=0.5, max=300),
    )
    heartbeat_interval: float = _setting(
        0.0,
        "float",
        "seconds between two heartbeat records of each partition, to measure the way by; 0: none",
        check=_SECONDS,
    )
    shutdown_delay: float = _setting(
        3.0, "float", "seconds of serving on after SIGTERM, until routers have noticed", check=_SECONDS
    )
    shutdown_timeout: float = _setting(
        22.0,
        "float",
        "seconds from then on for requests under way and the hand-over, after which the process is ended by force; "
        "with SHUTDOWN_DELAY below the 30 after which Kubernetes kills",
        check=Range(min=12, max=3600),
    )
    request_timeout: float = _setting(
        10.0,
        "float",
        "seconds for one request as a whole: callers have given up soon after, and what they no longer wait for "
        "only takes room",
        check=_BOUND,
    )
    body_timeout: float = _setting(
        5.0,
        "float",
        "seconds for a request's body to arrive: a thousandth would do, slower ones are sent so on purpose",
        check=_BOUND,
    )
    body_limit: int = _setting(
        65536,
        "int",
        "bytes of a request's body: a key needs less than 1000",
        check=Range(min=1024, max=2**24),
    )
    arriving_limit: int = _setting(
        2**24,
        "int",
        "bytes of request bodies that have not arrived yet, 16384 for each at least; one token may have a quarter; "
        "requests beyond it get 503",
        check=Range(min=65536, max=2**32),
    )
    send_timeout: float = _setting(
        15.0,
        "float",
        "seconds for a client to read a response, after which its connection is aborted: the largest page has "
        "1.7 MB, which take 14 at 1 Mbit/s",
        check=_BOUND,
    )
    unsent_limit: int = _setting(
        2**25,
        "int",
        "bytes of responses that their clients have not read: a third of what the deployment's memory limit leaves "
        "free at 10 000 connections; beyond it the connection that is slow for longest is aborted",
        check=Range(min=2**20, max=2**32),
    )
    connect_timeout: float = _setting(
        5.0,
        "float",
        "seconds to connect to Postgres where no request waits for it; one that does waits ACQUIRE_TIMEOUT",
        check=_BOUND,
    )
    acquire_timeout: float = _setting(
        1.0,
        "float",
        "seconds to wait for a connection of the pool, a new one if need be: more get 503 and come again",
        check=_BOUND,
    )
    statement_timeout: float = _setting(
        3.0,
        "float",
        "seconds for one statement, which takes milliseconds; Postgres ends it, a second later the driver does",
        check=_BOUND,
    )
    lock_timeout: float = _setting(
        2.0,
        "float",
        "seconds to wait for a lock in Postgres: below STATEMENT_TIMEOUT, so that the log names the lock",
        check=_BOUND,
    )
    idle_in_transaction_timeout: float = _setting(
        5.0,
        "float",
        "seconds that a transaction may idle before Postgres ends it: a halted process must not keep its locks",
        check=_BOUND,
    )
    kafka_request_timeout: float = _setting(
        5.0,
        "float",
        "seconds for one answer of Kafka: a silent broker holds up every shard of the wave it is in for as long",
        check=_BOUND,
    )
    keepalive_timeout: float = _setting(
        75.0,
        "float",
        "seconds an idle connection is kept between two requests; longer than proxies keep theirs",
        check=_BOUND,
    )
    header_timeout: float = _setting(
        10.0,
        "float",
        "seconds for the first request's head to arrive on a new connection: clients send it at once",
        check=_BOUND,
    )
    max_new_connections: int = _setting(
        1000,
        "int",
        "connections of one address that have sent no whole request head; more are closed at once; 0: no limit. "
        "Those of a proxy, which have one address, count only until their first request",
        check=Range(min=0, max=1_000_000),
    )
    max_requests: int = _setting(
        1000,
        "int",
        "requests answered at a time, about a quarter of a second's work; more get 503 at once",
        check=Range(min=1, max=100_000),
    )
    max_connections: int = _setting(
        16_000,
        "int",
        "callers' connections at a time, fewer where the process may have fewer files; more are closed at once",
        check=Range(min=10, max=1_000_000),
    )
    log_level: str = _setting(
        "info", "str", "debug, info, warning or error", check=OneOf(["debug", "info", "warning", "error"])
    )
    log_format: str = _setting(
        "auto", "str", "json, text, or auto: text on a terminal", check=OneOf(["json", "text", "auto"])
    )

    @property
    def links_base(self) -> str:
        """The base of the API's own links."""
        return self.public_url.rstrip("/") or f"http://127.0.0.1:{self.port}"


_FIELDS: Final[tuple[Field[Any], ...]] = fields(Settings)

NAMES: Final = frozenset(one.name.upper() for one in _FIELDS)
"""The environment variables that are read; each also as NAME_FILE, the path of a file that holds the value."""


def read() -> Settings:
    """The settings that the environment asks for.

    Raises:
        SettingsError: some of them cannot be used.
    """
    env = FileAwareEnv(eager=False, strip_whitespace=True)
    mistakes: dict[str, str] = {}
    values: dict[str, Any] = {}
    for one in _FIELDS:
        name = one.name.upper()
        if os.environ.get(name) and os.environ.get(f"{name}_FILE"):
            mistakes[name] = f"Set it or {name}_FILE, not both."
            continue
        try:
            values[one.name] = _read_one(env, one)
        except ValueError as error:  # a file that cannot be read
            mistakes[name] = str(error)
    try:
        env.seal()
    except EnvValidationError as error:
        by_name = cast("Mapping[str, list[str]]", error.error_messages)
        mistakes.update({name: " ".join(texts) for name, texts in by_name.items()})
    if mistakes:
        raise SettingsError("\n".join(f"{name}: {text}" for name, text in sorted(mistakes.items())))
    return Settings(**values)


def _read_one(env: FileAwareEnv, one: Field[Any]) -> Any:
    parse = getattr(env, one.metadata["kind"])
    check = one.metadata["check"]
    value = parse(one.name.upper(), one.default, **({"validate": check} if check else {}))
    return tuple(part.strip() for part in value) if isinstance(value, list) else value


def table(settings: Settings) -> list[tuple[str, str, str]]:
    """Name, value and description of every setting; secrets masked."""
    return [(one.name.upper(), _shown(one, settings), one.metadata["description"]) for one in _FIELDS]


def _shown(one: Field[Any], settings: Settings) -> str:
    value = getattr(settings, one.name)
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return "********" if one.metadata["secret"] and text else text
