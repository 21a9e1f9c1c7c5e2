"""The settings, in groups."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from marshmallow.validate import Range, Regexp

from service.edge_settings import EdgeSettings
from service.environment import SettingsGroup, setting
from service.http_settings import HttpSettings
from service.setting_checks import SECONDS, TIMEOUT, base_url, bootstrap_servers, one_of, topic_name

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
_ADDRESS_URL: Final = re.compile(r"https?://(\[|[0-9.]+(:|/|$))")


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings(SettingsGroup):
    """PostgreSQL."""

    database_url: str = setting(
        "",
        "URL, postgresql://…; what it leaves out is taken from the PG* variables of libpq.",
        check=_DATABASE_URL,
        secret=True,
    )
    database_pool_size: int = setting(10, "Maximum number of connections to Postgres.", check=Range(min=2, max=1000))
    database_pgbouncer: bool = setting(
        default=False,
        description="Whether Postgres is reached through PgBouncer in transaction mode; disables named prepared "
        "statements.",
    )
    connect_timeout: float = setting(
        5.0,
        "Timeout for connecting to Postgres outside of requests (s); within requests ACQUIRE_TIMEOUT applies.",
        check=TIMEOUT,
    )
    acquire_timeout: float = setting(
        1.0, "Time to wait for a pool connection (s); then 503 with Retry-After.", check=TIMEOUT
    )
    statement_timeout: float = setting(
        3.0,
        "Timeout for one statement, which usually takes milliseconds (s); Postgres cancels it, and one second later "
        "the driver does.",
        check=TIMEOUT,
    )
    lock_timeout: float = setting(
        2.0,
        "Time to wait for a lock in Postgres (s); must be below STATEMENT_TIMEOUT, so that the log names the lock.",
        check=TIMEOUT,
    )
    idle_in_transaction_timeout: float = setting(
        5.0,
        "Time after which Postgres ends an idle transaction (s), so that a paused process does not keep its locks.",
        check=TIMEOUT,
    )

    def mistakes(self) -> dict[str, str]:
        """Return the values that contradict each other: an error for each name."""
        found = super().mistakes()
        if self.lock_timeout >= self.statement_timeout:
            found["LOCK_TIMEOUT"] = f"Must be below STATEMENT_TIMEOUT, which is {self.statement_timeout:g}."
        return found


@dataclass(frozen=True, kw_only=True)
class KafkaSettings(SettingsGroup):
    """Apache Kafka."""

    kafka_bootstrap_servers: tuple[str, ...] = setting(
        ("127.0.0.1:9092",),
        "Bootstrap servers: host:port, separated by commas.",
        check=bootstrap_servers,
    )
    kafka_topic: str = setting(
        "project-keys",
        "Topic of the events.",
        check=topic_name,
    )
    kafka_security_protocol: str = setting(
        "PLAINTEXT",
        "Security protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.",
        check=one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    )
    kafka_sasl_mechanism: str = setting(
        "PLAIN",
        "SASL mechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.",
        check=one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
    )
    kafka_sasl_username: str = setting("", "SASL user name.")
    kafka_sasl_password: str = setting("", "SASL password.", secret=True)
    kafka_sasl_oauthbearer_token: str = setting(
        "",
        "Token for OAUTHBEARER. The file of KAFKA_SASL_OAUTHBEARER_TOKEN_FILE is read again for each connection.",
        secret=True,
    )
    kafka_sasl_oauthbearer_token_endpoint_url: str = setting(
        "",
        "URL at which tokens are requested by client credentials, instead of KAFKA_SASL_OAUTHBEARER_TOKEN.",
        check=base_url,
    )
    kafka_sasl_oauthbearer_client_id: str = setting("", "Client id for the token endpoint.")
    kafka_sasl_oauthbearer_client_secret: str = setting("", "Client secret for the token endpoint.", secret=True)
    kafka_sasl_oauthbearer_scope: str = setting("", "Scope of the requested tokens.")
    kafka_ssl_cafile: str = setting(
        "", "File with the CA certificates of the brokers; if empty, the system's CA certificates apply."
    )
    kafka_ssl_certfile: str = setting("", "File with the client certificate.")
    kafka_ssl_keyfile: str = setting("", "File with the private key of the client certificate.")
    kafka_request_timeout: float = setting(
        5.0,
        "Timeout for one request to Kafka (s); a broker that does not respond delays all shards of the same batch.",
        check=TIMEOUT,
    )

    def mistakes(self) -> dict[str, str]:
        """Return the values that contradict each other: an error for each name."""
        found, endpoint = super().mistakes(), self.kafka_sasl_oauthbearer_token_endpoint_url
        for name in ("kafka_sasl_oauthbearer_client_id", "kafka_sasl_oauthbearer_client_secret"):
            if endpoint and not getattr(self, name):
                found[name.upper()] = "Needed with KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL."
        if endpoint and self.kafka_sasl_oauthbearer_token:
            other = "KAFKA_SASL_OAUTHBEARER_TOKEN_ENDPOINT_URL"
            found[other] = "Set either this or KAFKA_SASL_OAUTHBEARER_TOKEN, not both."
        return found


@dataclass(frozen=True, kw_only=True)
class PublisherSettings(SettingsGroup):
    """The publisher."""

    shard_lease: float = setting(
        5.0,
        "Time after which another replica takes over the shards of a failed one, and the reading of outcomes (s).",
        check=Range(min=0.5, max=300),
    )
    heartbeat_interval: float = setting(
        0.0, "Interval of heartbeats on each partition (s); 0 disables.", check=SECONDS
    )


@dataclass(frozen=True, kw_only=True)
class DsnSettings(SettingsGroup):
    """DSNs."""

    ingest_url: str = setting(
        "http://127.0.0.1:9000",
        "Base URL of the DSNs of organizations without an ingest URL of their own.",
        check=base_url,
    )
    org_subdomains: bool = setting(
        default=False,
        description="Whether DSNs have o<organization id>.ingest. before the host; it must be a name.",
    )
    loader_cdn_url: str = setting("", "Base URL of the browser loader; if empty, INGEST_URL.", check=base_url)

    def mistakes(self) -> dict[str, str]:
        """Return the values that contradict each other: an error for each name."""
        found = super().mistakes()
        if self.org_subdomains and _ADDRESS_URL.match(self.ingest_url):
            found["ORG_SUBDOMAINS"] = "Needs a host name in INGEST_URL: an IP address has no subdomains."
        return found


@dataclass(frozen=True, kw_only=True)
class UsageSettings(SettingsGroup):
    """The usage of keys."""

    usage: bool = setting(
        default=False,
        description="Whether to count the outcomes of OUTCOMES_TOPIC by key and hour, and to serve …/stats/ of keys.",
    )
    usage_retention: int = setting(
        90,
        "Time for which hours are kept (days); the last hour of each key is kept longer.",
        check=Range(min=1, max=3650),
    )


@dataclass(frozen=True, kw_only=True)
class LogSettings(SettingsGroup):
    """The log."""

    log_level: str = setting(
        "info",
        "Lowest level to log: debug, info, warning or error.",
        check=one_of("debug", "info", "warn", "warning", "error"),
    )
    log_format: str = setting(
        "auto",
        "Format of log lines: json, text, or auto (text on a terminal, otherwise JSON).",
        check=one_of("json", "text", "auto"),
    )


@dataclass(frozen=True, kw_only=True)
class KeySettings(DsnSettings, DatabaseSettings):
    """The settings of commands that create keys."""


@dataclass(frozen=True, kw_only=True)
class ReconcileSettings(DsnSettings, KafkaSettings, DatabaseSettings):
    """The settings of the comparison of the topic with Postgres."""


# A dataclass has the fields of its last base class first.
@dataclass(frozen=True, kw_only=True)
class EdgeProcessSettings(LogSettings, EdgeSettings, KafkaSettings, HttpSettings):
    """The settings of the edge, which does not use the database."""


@dataclass(frozen=True, kw_only=True)
class Settings(EdgeProcessSettings, UsageSettings, DsnSettings, PublisherSettings, DatabaseSettings):
    """All settings."""


GROUPS: Final[Mapping[str, type[SettingsGroup]]] = {
    "HTTP server": HttpSettings,
    "PostgreSQL": DatabaseSettings,
    "Apache Kafka": KafkaSettings,
    "Publisher": PublisherSettings,
    "DSNs": DsnSettings,
    "Usage": UsageSettings,
    "Edge": EdgeSettings,
    "Log": LogSettings,
}
"""The groups of `Settings`, by title."""

NAMES: Final = frozenset(declared.name.upper() for declared in fields(Settings))
"""The names of all settings, which are environment variables; NAME_FILE names a file that contains the value."""
