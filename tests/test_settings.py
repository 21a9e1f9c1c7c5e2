"""Settings: read from environment variables; all invalid values are reported at once, and secrets are masked."""

import os
from pathlib import Path

import pytest

from service.cli.config import markdown_lines
from service.cli.main import main
from service.environment import SettingsError, read, table
from service.settings import GROUPS, NAMES, DatabaseSettings, KafkaSettings, Settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unset all settings."""
    for name in os.environ:
        if name.removesuffix("_FILE") in NAMES:
            monkeypatch.delenv(name)


def test_without_an_environment_every_setting_has_its_default() -> None:
    """The defaults are those of the class."""
    assert read(Settings) == Settings()


def test_settings_of_each_type_are_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Strings, numbers, booleans and lists; surrounding spaces are ignored."""
    for name, value in {
        "PORT": " 9000 ",
        "SHARD_LEASE": "0.5",
        "ORG_SUBDOMAINS": "true",
        "KAFKA_BOOTSTRAP_SERVERS": "a:1, b:2",
        "KAFKA_SASL_USERNAME": "keys",
        "PUBLIC_URL": "https://keys.example.com/base/",
        "INGEST_URL": "https://sentry.example.com",
    }.items():
        monkeypatch.setenv(name, value)
    settings = read(Settings)
    assert (settings.port, settings.shard_lease, settings.org_subdomains) == (9000, 0.5, True)
    assert settings.kafka_bootstrap_servers == ("a:1", "b:2")
    assert settings.kafka_sasl_username == "keys"
    assert settings.links_base == "https://keys.example.com/base"


def test_links_have_the_local_address_if_public_url_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Development needs no PUBLIC_URL."""
    monkeypatch.setenv("PORT", "9000")
    assert read(Settings).links_base == "http://127.0.0.1:9000"


def test_all_invalid_settings_are_reported_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line each, sorted by name: values, files, and names that are set twice."""
    for name, value in {
        "PORT": "many",
        "OPS_PORT": "70000",
        "SHARD_LEASE": "nan",
        "DATABASE_PGBOUNCER": "perhaps",
        "INGEST_URL": "https://sentry.io/?a=b",
        "LOG_LEVEL": "loud",
        "KAFKA_TOPIC": "two words",
        "KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "absent"),
        "KAFKA_SASL_USERNAME": "keys",
        "KAFKA_SASL_USERNAME_FILE": str(tmp_path / "user"),
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        read(Settings)
    lines = str(raised.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "DATABASE_PGBOUNCER",
        "INGEST_URL",
        "KAFKA_SASL_PASSWORD",
        "KAFKA_SASL_USERNAME",
        "KAFKA_TOPIC",
        "LOG_LEVEL",
        "OPS_PORT",
        "PORT",
        "SHARD_LEASE",
    ]
    assert "INGEST_URL: Must be an http or https URL without a query; remove it." in lines
    assert "KAFKA_SASL_USERNAME: Set either KAFKA_SASL_USERNAME or KAFKA_SASL_USERNAME_FILE, not both." in lines


def test_an_empty_list_of_bootstrap_servers_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the service would start and never reach Kafka."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "")
    with pytest.raises(SettingsError, match=r"^KAFKA_BOOTSTRAP_SERVERS: Must be at least one host:port"):
        read(KafkaSettings)


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_setting_can_be_read_from_a_file(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """``NAME_FILE`` is the path of a file with the value; a trailing newline is ignored."""
    defaults = {name: value for name, value, _ in table(Settings())}
    values = {
        "DATABASE_URL": "postgresql://u:p@h/d",
        "KAFKA_SASL_PASSWORD": "hunter2",
        "PORT": "9001",
        "LOG_LEVEL": "debug",
        "INGEST_URL": "https://sentry.example.com",
    }
    value = values.get(name, defaults[name])
    file = tmp_path / "value"
    file.write_text(f"{value}\n")
    monkeypatch.setenv(f"{name}_FILE", str(file))
    parsed = getattr(read(Settings), name.lower())
    assert (",".join(parsed) if isinstance(parsed, tuple) else str(parsed)) == value


@pytest.mark.parametrize("error", [KeyError, ValueError])
def test_a_defect_of_a_command_ends_it_with_a_traceback(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only expected errors are reported as one line: the text of a KeyError explains nothing."""

    def fail(_: object) -> None:
        raise error("defect")

    monkeypatch.setattr("service.cli.config.table", fail)
    with pytest.raises(error, match="defect"):
        main(["config"])


def test_an_unreadable_file_is_reported_with_the_name_of_its_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A missing file and a directory."""
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(tmp_path))
    with pytest.raises(SettingsError) as raised:
        read(Settings)
    first, second = str(raised.value).splitlines()
    assert first.startswith("DATABASE_URL: ")
    assert "DATABASE_URL_FILE" in first
    assert second.startswith("KAFKA_SASL_PASSWORD: ")


def test_an_error_message_contains_no_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither of two contradicting values is in the message."""
    file = tmp_path / "password"
    file.write_text("hunter3")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(file))
    with pytest.raises(SettingsError) as raised:
        read(Settings)
    assert "hunter" not in str(raised.value)


def test_secrets_are_masked_in_the_table_and_in_the_repr() -> None:
    """An empty secret is shown as empty."""
    settings = Settings(database_url="postgresql://u:hunter2@h/d", kafka_sasl_password="hunter2")
    shown = {name: value for name, value, _ in table(settings)}
    assert shown["DATABASE_URL"] == shown["KAFKA_SASL_PASSWORD"] == "********"
    assert "hunter2" not in repr(settings) + repr(table(settings))
    assert {value for name, value, _ in table(Settings()) if name == "DATABASE_URL"} == {""}


def test_the_table_has_every_setting_with_a_description() -> None:
    """Every setting belongs to one group."""
    rows = table(Settings())
    assert {name for name, _, _ in rows} == NAMES
    assert sorted(name for group in GROUPS.values() for name, _, _ in table(group())) == sorted(NAMES)
    assert all(len(description) > 10 for _, _, description in rows)


def test_the_reference_page_is_current() -> None:
    """docs/settings.md is the output of `projectkeys config --markdown`."""
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text()
    assert page == "".join(f"{line}\n" for line in markdown_lines())


def test_a_group_is_read_without_the_other_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Invalid settings of other groups are ignored; all of its own are reported."""
    for name in ("PORT", "KAFKA_SECURITY_PROTOCOL", "KAFKA_TOPIC"):
        monkeypatch.setenv(name, "not valid")
    monkeypatch.setenv("DATABASE_POOL_SIZE", "20")
    assert read(DatabaseSettings) == DatabaseSettings(database_pool_size=20)
    with pytest.raises(SettingsError, match=r"^KAFKA_SECURITY_PROTOCOL: .*\nKAFKA_TOPIC: .*$"):
        read(KafkaSettings)


@pytest.mark.parametrize("name", sorted(name for name in NAMES if name.endswith("_TIMEOUT") or name == "BODY_LIMIT"))
@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan"])
def test_no_timeout_can_be_disabled(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Postgres, 0 disables a timeout."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: "):
        read(Settings)


@pytest.mark.parametrize("name", ["INGEST_URL", "PUBLIC_URL", "LOADER_CDN_URL"])
@pytest.mark.parametrize("value", ["sentry.io", "ftp://sentry.io", "https://", "https://two words"])
def test_a_url_must_be_an_http_url(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise every DSN would be invalid."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}: Must be an http or https URL"):
        read(Settings)
