"""Values of settings: which are accepted, in which form, and what the error of a refused one suggests."""

import os

import pytest

from service.environment import SettingsError, changed, read
from service.settings import NAMES, DatabaseSettings, DsnSettings, Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset all settings."""
    for name in os.environ:
        if name.removesuffix("_FILE") in NAMES:
            monkeypatch.delenv(name)


@pytest.mark.parametrize("name", sorted(NAMES - {"KAFKA_BOOTSTRAP_SERVERS"}))
@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_value_counts_as_not_set(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files and charts set variables to empty values. Empty bootstrap servers are an error."""
    monkeypatch.setenv(name, value)
    assert read(Settings) == Settings()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("KAFKA_TOPIC", "eu.project_keys-1", "eu.project_keys-1"),
        ("LOG_LEVEL", "INFO", "info"),
        ("LOG_LEVEL", "Warn", "warn"),
        ("LOG_FORMAT", "JSON", "json"),
        ("KAFKA_SECURITY_PROTOCOL", "sasl_ssl", "SASL_SSL"),
        ("KAFKA_SECURITY_PROTOCOL", "Sasl-Plaintext", "SASL_PLAINTEXT"),
        ("KAFKA_SASL_MECHANISM", "scram-sha-512", "SCRAM-SHA-512"),
        ("KAFKA_SASL_MECHANISM", "SCRAM_SHA_256", "SCRAM-SHA-256"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1, b_2.c:2,,", ("a:1", "b_2.c:2")),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka,[2001:db8::1]:9093", ("kafka:9092", "[2001:db8::1]:9093")),
        ("INGEST_URL", "https://sentry.example.com/", "https://sentry.example.com"),
        ("INGEST_URL", "http://[2001:db8::1]:9000", "http://[2001:db8::1]:9000"),
        ("PUBLIC_URL", "https://keys.example.com/base/", "https://keys.example.com/base"),
        ("LOADER_CDN_URL", "https://js.example.com", "https://js.example.com"),
        ("LOADER_CDN_URL", "https://js.example.com/loader/", "https://js.example.com/loader"),
        ("ORG_SUBDOMAINS", "YES", True),
        ("DATABASE_PGBOUNCER", "oFF", False),
        ("PORT", "0", 0),
        ("HOST", "0.0.0.0", ("0.0.0.0",)),  # noqa: S104 -- a value
        ("HOST", "127.0.0.1, [::1],::1", ("127.0.0.1", "::1")),
        ("HOST", "fe80::1%eth0", ("fe80::1%eth0",)),
    ],
)
def test_a_value_is_accepted_in_each_usual_form(
    name: str, value: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Upper and lower case, `_` and `-`, a trailing slash or comma, and brackets make no difference."""
    monkeypatch.setenv("INGEST_URL", "https://sentry.example.com")
    monkeypatch.setenv(name, value)
    assert getattr(read(Settings), name.lower()) == expected


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("PORT", "tcp://10.0.0.1:80", "'tcp://10.0.0.1:80' is not a whole number; use digits alone."),
        ("PORT", "8081", "Must differ from PORT, which is 8081 too."),
        ("BODY_TIMEOUT", "5s", "'5s' is not a number; use digits without a unit."),
        ("ORG_SUBDOMAINS", "perhaps", "'perhaps' is not a boolean; use true or false."),
        ("ORG_SUBDOMAINS", "true", "Needs a host name in INGEST_URL: an IP address has no subdomains."),
        (
            "KAFKA_TOPIC",
            "a b",
            "'a b' is not a valid topic name; use 1 to 200 letters, digits, '.', '_' and '-'.",
        ),
        (
            "KAFKA_TOPIC",
            "..",
            "'..' is not a valid topic name; use 1 to 200 letters, digits, '.', '_' and '-'.",
        ),
        (
            "KAFKA_TOPIC",
            '"k"',
            "'\"k\"' is not a valid topic name; use 1 to 200 letters, digits, '.', '_' and '-'. Remove the quotes.",
        ),
        ("KAFKA_BOOTSTRAP_SERVERS", "", "Must be at least one host:port."),
        ("KAFKA_BOOTSTRAP_SERVERS", ",", "Must be at least one host:port."),
        (
            "KAFKA_BOOTSTRAP_SERVERS",
            "SASL_SSL://h:9092",
            "'SASL_SSL://h:9092' is not host:port; use 'h:9092', and KAFKA_SECURITY_PROTOCOL=SASL_SSL.",
        ),
        *(
            (
                "KAFKA_BOOTSTRAP_SERVERS",
                value,
                f"{value!r} is not host:port; use for example kafka:9092 or [2001:db8::1]:9092, separated by commas."
                + hint,
            )
            for value, hint in (
                ("h:99999", ""),
                ("h:0", ""),
                ("h:", ""),
                ("a:1 b:2", ""),
                ("::1:9092", ""),
                ("'h:9092'", " Remove the quotes."),
            )
        ),
        ("LOG_LEVEL", "loud", "'loud' is not supported; use debug, info, warn, warning or error."),
        (
            "KAFKA_SASL_MECHANISM",
            "GSSAPI",
            "'GSSAPI' is not supported; use PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER.",
        ),
        ("LOCK_TIMEOUT", "3", "Must be below STATEMENT_TIMEOUT, which is 3."),
        *(
            (
                "HOST",
                value,
                f"{value!r} is not an address; use for example 0.0.0.0 or ::, separated by commas, and PORT.",
            )
            for value in ("0.0.0.0:8080", "http://localhost", "a b", "*")
        ),
    ],
)
def test_the_error_of_a_refused_value_says_what_to_write(
    name: str, value: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error begins with the name of the setting to change."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        read(Settings)
    changed_name = "OPS_PORT" if value == "8081" else name
    assert str(raised.value) == f"{changed_name}: {error}"


@pytest.mark.parametrize("name", ["INGEST_URL", "PUBLIC_URL", "LOADER_CDN_URL"])
@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("https://user:hunter2@h", "Must be an http or https URL without a user; remove it."),
        ("https://h/?a=b", "Must be an http or https URL without a query; remove it."),
        ("https://h/#top", "Must be an http or https URL without a fragment; remove it."),
        *(
            (url, "Must be an http or https URL, such as https://sentry.example.com:8443/path.")
            for url in (
                "h",
                "https://h:0",
                "https://h:70000",
                "https://h:x",
                "https://h/a b",
                "https:///p",
                "//h",
            )
        ),
    ],
)
def test_a_base_url_has_nothing_but_scheme_host_port_and_path(
    name: str, url: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and paths are inserted into it; a password in it is not repeated."""
    monkeypatch.setenv(name, url)
    with pytest.raises(SettingsError) as raised:
        read(Settings)
    assert str(raised.value) == f"{name}: {error}"


@pytest.mark.parametrize("url", ["http://10.0.0.1:9000", "https://[2001:db8::1]", "http://127.0.0.1/path"])
def test_an_ip_address_has_no_subdomains(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``o1.ingest.10.0.0.1`` is not a host."""
    monkeypatch.setenv("INGEST_URL", url)
    assert read(DsnSettings).ingest_url == url
    monkeypatch.setenv("ORG_SUBDOMAINS", "true")
    with pytest.raises(SettingsError, match=r"^ORG_SUBDOMAINS: "):
        read(DsnSettings)


def test_a_path_through_a_file_is_an_unreadable_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every error of the operating system is reported with the name of the setting."""
    monkeypatch.setenv("DATABASE_URL_FILE", "/dev/null/url")
    with pytest.raises(
        SettingsError, match=r"^DATABASE_URL: DATABASE_URL_FILE must name a readable file: .*Not a dir"
    ):
        read(DatabaseSettings)


def test_the_changed_settings_lead_to_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make run` writes them for the second terminal."""
    settings = Settings(
        port=18080, host=("127.0.0.1", "::1"), database_url="postgresql://u:p@h/d", database_pgbouncer=True
    )
    variables = changed(settings)
    assert sorted(variables) == ["DATABASE_PGBOUNCER", "DATABASE_URL", "HOST", "PORT"]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert read(Settings) == settings


@pytest.mark.parametrize(
    ("host", "url"),
    [
        (("::",), "http://127.0.0.1:8080"),
        (("0.0.0.0", "::1"), "http://127.0.0.1:8080"),  # noqa: S104 -- a value
        (("::1",), "http://[::1]:8080"),
        (("10.0.0.1",), "http://10.0.0.1:8080"),
    ],
)
def test_the_local_url_has_an_address_that_the_service_listens_on(host: tuple[str, ...], url: str) -> None:
    """`make run` prints it, and links have it without PUBLIC_URL."""
    assert Settings(host=host).links_base == url
