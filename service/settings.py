"""The settings, in groups."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from marshmallow.validate import Length, OneOf, Range, Regexp

from service.environment import SettingsGroup, setting

_HTTP_URL: Final = Regexp(
    r"^https?://[^/\s]+(/\S*[^/\s])?$", error="Must be an http or https URL without a trailing slash."
)
_OPTIONAL_HTTP_URL: Final = Regexp(r"^(https?://[^/\s]+(/\S*)?)?$", error="Must be an http or https URL.")

DATABASE_URL_FORM: Final = (
    "Must have the form postgresql://user:password@host:5432/database, with special characters of the password "
    "percent-encoded (%2F for /)."
)

# Stricter than the driver, which parses the text after an unescaped character of a password as a port and includes it
# in its error message.
_DATABASE_URL: Final = Regexp(
    r"^$|^postgres(ql)?://([^@/?#\s]*@)?[^@/?#\s:\[]*(\[[^@/?#\s]*\])?(:[0-9]+)?(,[^@/?#\s]*)*"
    r"(/[^?#\s]*)?(\?([^&=#\s]+=[^&#\s]*(&[^&=#\s]+=[^&#\s]*)*)?)?$",
    error=DATABASE_URL_FORM,
)
_SECONDS: Final = Range(min=0, max=3600)
_TIMEOUT: Final = Range(min=0.1, max=3600)  # not 0, which disables a timeout in Postgres
_PORT: Final = Range(min=1, max=65535)


@dataclass(frozen=True, kw_only=True)
class HttpSettings(SettingsGroup):
    """The HTTP server."""

    port: int = setting(8080, "Port of the API.", check=_PORT)
    ops_port: int = setting(8081, "Port of /livez, /readyz and /metrics.", check=_PORT)
    host: str = setting(
        "0.0.0.0",  # noqa: S104 -- the address of a container is not known in advance
        "Address that both ports listen on. `projectkeys dev` listens on 127.0.0.1 unless HOST is set.",
    )
    public_url: str = setting(
        "",
        "Base URL of the API in the links that it returns, with the path prefix that a proxy removes; if empty, "
        "http://127.0.0.1:PORT.",
        check=_OPTIONAL_HTTP_URL,
    )
    shutdown_delay: float = setting(
        3.0,
        "Time after SIGTERM in which the API still accepts requests (s), so that load balancers can remove the "
        "replica.",
        check=_SECONDS,
    )
    shutdown_timeout: float = setting(
        22.0,
        "Time after SHUTDOWN_DELAY for running requests and for releasing shards (s); then the process is killed. "
        "With SHUTDOWN_DELAY it must be shorter than Kubernetes's terminationGracePeriodSeconds (30).",
        check=Range(min=12, max=3600),
    )
    request_timeout: float = setting(10.0, "Timeout for processing a request (s).", check=_TIMEOUT)
    body_timeout: float = setting(
        5.0,
        "Timeout for receiving the request body (s); limits slow-client attacks.",
        check=_TIMEOUT,
    )
    body_limit: int = setting(
        65536,
        "Maximum size of a request body (bytes); the body of a key has less than 1000.",
        check=Range(min=1024, max=2**24),
    )
    arriving_limit: int = setting(
        2**24,
        "Maximum size of all request bodies that are being received (bytes); each counts as at least 16384. Further "
        "requests get 503. The bodies of one token can use a quarter.",
        check=Range(min=65536, max=2**32),
    )
    send_timeout: float = setting(
        15.0,
        "Timeout for sending a response (s), after which the connection is aborted; the largest page has 1.7 MB, "
        "which takes 14 s at 1 Mbit/s.",
        check=_TIMEOUT,
    )
    unsent_limit: int = setting(
        2**25,
        "Maximum size of all responses that are being sent (bytes), a third of what the memory limit of the "
        "deployment leaves free with 10 000 connections; above it the slowest connection is aborted.",
        check=Range(min=2**20, max=2**32),
    )
    keepalive_timeout: float = setting(
        75.0,
        "Timeout for a connection that is idle between two requests (s); must be longer than the proxy's "
        "keep-alive timeout.",
        check=_TIMEOUT,
    )
    header_timeout: float = setting(
        10.0, "Timeout for receiving the first request head on a new connection (s).", check=_TIMEOUT
    )
    max_new_connections: int = setting(
        1000,
        "Maximum number of connections of one address on which no request head was received yet; further ones are "
        "closed. 0 disables. Connections of a proxy, which have one address, count until their first request.",
        check=Range(min=0, max=1_000_000),
    )
    max_requests: int = setting(
        1000,
        "Maximum number of concurrent requests, about a quarter of a second's work; further requests get 503.",
        check=Range(min=1, max=100_000),
    )
    max_connections: int = setting(
        16_000,
        "Maximum number of client connections, reduced to fit the process's limit of open files; further "
        "connections are closed.",
        check=Range(min=10, max=1_000_000),
    )

    @property
    def links_base(self) -> str:
        """The base URL of the API's own links, without a trailing slash."""
        return self.public_url.rstrip("/") or f"http://127.0.0.1:{self.port}"


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings(SettingsGroup):
    """PostgreSQL."""

    database_url: str = setting(
        "",
        "URL, postgresql://…; if empty, the PG* variables of libpq apply.",
        check=_DATABASE_URL,
        secret=True,
    )
    database_pool_size: int = setting(
        10, "Maximum number of connections to Postgres.", check=Range(min=2, max=1000)
    )
    database_pgbouncer: bool = setting(
        default=False,
        description="Whether Postgres is reached through PgBouncer in transaction mode; disables named prepared "
        "statements.",
    )
    connect_timeout: float = setting(
        5.0,
        "Timeout for connecting to Postgres outside of requests (s); within requests ACQUIRE_TIMEOUT applies.",
        check=_TIMEOUT,
    )
    acquire_timeout: float = setting(
        1.0, "Time to wait for a pool connection (s); then 503 with Retry-After.", check=_TIMEOUT
    )
    statement_timeout: float = setting(
        3.0,
        "Timeout for one statement, which usually takes milliseconds (s); Postgres cancels it, and one second later "
        "the driver does.",
        check=_TIMEOUT,
    )
    lock_timeout: float = setting(
        2.0,
        "Time to wait for a lock in Postgres (s); must be below STATEMENT_TIMEOUT, so that the log names the lock.",
        check=_TIMEOUT,
    )
    idle_in_transaction_timeout: float = setting(
        5.0,
        "Time after which Postgres ends an idle transaction (s), so that a paused process does not keep its locks.",
        check=_TIMEOUT,
    )


@dataclass(frozen=True, kw_only=True)
class KafkaSettings(SettingsGroup):
    """Apache Kafka."""

    kafka_bootstrap_servers: tuple[str, ...] = setting(
        ("127.0.0.1:9092",),
        "Bootstrap servers: host:port, separated by commas.",
        check=Length(min=1, error="Must be at least one host:port."),
    )
    kafka_topic: str = setting(
        "project-keys",
        "Topic of the events.",
        check=Regexp(r"^[a-zA-Z0-9_-]{1,200}$", error="Must be 1 to 200 letters, digits, '_' or '-'."),
    )
    kafka_security_protocol: str = setting(
        "PLAINTEXT",
        "Security protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
        check=OneOf(["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
    )
    kafka_sasl_mechanism: str = setting(
        "PLAIN",
        "SASL mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.",
        check=OneOf(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]),
    )
    kafka_sasl_username: str = setting("", "SASL user name.")
    kafka_sasl_password: str = setting("", "SASL password; for OAUTHBEARER the token.", secret=True)
    kafka_ssl_cafile: str = setting(
        "", "File with the CA certificates of the brokers; if empty, the system's CA certificates apply."
    )
    kafka_ssl_certfile: str = setting("", "File with the client certificate.")
    kafka_ssl_keyfile: str = setting("", "File with the private key of the client certificate.")
    kafka_request_timeout: float = setting(
        5.0,
        "Timeout for one request to Kafka (s); a broker that does not respond delays all shards of the same batch.",
        check=_TIMEOUT,
    )


@dataclass(frozen=True, kw_only=True)
class PublisherSettings(SettingsGroup):
    """The publisher."""

    shard_lease: float = setting(
        5.0,
        "Time after which another replica takes over the shards of a failed one (s).",
        check=Range(min=0.5, max=300),
    )
    heartbeat_interval: float = setting(
        0.0, "Interval of heartbeats on each partition (s); 0 disables.", check=_SECONDS
    )


@dataclass(frozen=True, kw_only=True)
class DsnSettings(SettingsGroup):
    """DSNs."""

    ingest_url: str = setting(
        "http://127.0.0.1:9000",
        "Base URL of the DSNs of organizations without an ingest URL of their own.",
        check=_HTTP_URL,
    )
    org_subdomains: bool = setting(
        default=False, description="Whether DSNs have o<organization id>.ingest. before the host."
    )
    loader_cdn_url: str = setting(
        "", "Base URL of the browser loader; if empty, INGEST_URL.", check=_OPTIONAL_HTTP_URL
    )


@dataclass(frozen=True, kw_only=True)
class LogSettings(SettingsGroup):
    """The log."""

    log_level: str = setting(
        "info",
        "Lowest level to log: debug, info, warning or error.",
        check=OneOf(["debug", "info", "warning", "error"]),
    )
    log_format: str = setting(
        "auto",
        "Format of log lines: json, text, or auto (text on a terminal, otherwise JSON).",
        check=OneOf(["json", "text", "auto"]),
    )


@dataclass(frozen=True, kw_only=True)
class KeySettings(DsnSettings, DatabaseSettings):
    """The settings of commands that create keys."""


@dataclass(frozen=True, kw_only=True)
class ReconcileSettings(DsnSettings, KafkaSettings, DatabaseSettings):
    """The settings of the comparison of the topic with Postgres."""


# A dataclass has the fields of its last base class first.
@dataclass(frozen=True, kw_only=True)
class Settings(LogSettings, DsnSettings, PublisherSettings, KafkaSettings, DatabaseSettings, HttpSettings):
    """All settings."""


GROUPS: Final[Mapping[str, type[SettingsGroup]]] = {
    "HTTP server": HttpSettings,
    "PostgreSQL": DatabaseSettings,
    "Apache Kafka": KafkaSettings,
    "Publisher": PublisherSettings,
    "DSNs": DsnSettings,
    "Log": LogSettings,
}
"""The groups of `Settings`, by title."""

NAMES: Final = frozenset(declared.name.upper() for declared in fields(Settings))
"""The names of all settings, which are environment variables; NAME_FILE names a file that contains the value."""
