"""Settings: read from the environment, every mistake at once, secrets masked."""

import os
import re
from pathlib import Path

import pytest

from service.settings import NAMES, Settings, SettingsError, read, table


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the settings is set."""
    for name in os.environ:
        if name.removesuffix("_FILE") in NAMES:
            monkeypatch.delenv(name)


def test_without_an_environment_every_setting_has_its_default() -> None:
    """What is read is what the class says."""
    assert read() == Settings()


def test_each_kind_of_setting_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, numbers, switches and lists; spaces around a value mean nothing."""
    for name, value in {
        "PORT": " 9000 ",
        "SHARD_LEASE": "0.5",
        "ORG_SUBDOMAINS": "true",
        "KAFKA_BOOTSTRAP_SERVERS": "a:1, b:2",
        "KAFKA_SASL_USERNAME": "keys",
        "PUBLIC_URL": "https://keys.example.com/base/",
    }.items():
        monkeypatch.setenv(name, value)
    got = read()
    assert (got.port, got.shard_lease, got.org_subdomains) == (9000, 0.5, True)
    assert got.kafka_bootstrap_servers == ("a:1", "b:2")
    assert got.kafka_sasl_username == "keys"
    assert got.links_base == "https://keys.example.com/base"


def test_links_lead_to_this_machine_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first try needs no PUBLIC_URL."""
    monkeypatch.setenv("PORT", "9000")
    assert read().links_base == "http://127.0.0.1:9000"


def test_every_mistake_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """One line for each, by name, whatever kind of mistake it is."""
    for name, value in {
        "PORT": "many",
        "OPS_PORT": "70000",
        "SHARD_LEASE": "nan",
        "DATABASE_PGBOUNCER": "perhaps",
        "INGEST_URL": "https://sentry.io/",
        "LOG_LEVEL": "loud",
        "KAFKA_TOPIC": "two words",
        "KAFKA_SASL_PASSWORD_FILE": str(tmp_path / "absent"),
        "KAFKA_SASL_USERNAME": "keys",
        "KAFKA_SASL_USERNAME_FILE": str(tmp_path / "user"),
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as raised:
        read()
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
    assert "INGEST_URL: Not an http or https URL without a slash at its end." in lines
    assert "KAFKA_SASL_USERNAME: Set it or KAFKA_SASL_USERNAME_FILE, not both." in lines


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_setting_can_stand_in_a_file(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """``NAME_FILE`` names a file with the value; the line's end that editors leave does not count."""
    shown = {one: value for one, value, _ in table(Settings())}
    values = {
        "DATABASE_URL": "postgresql://u:p@h/d",
        "KAFKA_SASL_PASSWORD": "hunter2",
        "PORT": "9001",
        "LOG_LEVEL": "debug",
    }
    value = values.get(name, shown[name])
    file = tmp_path / "value"
    file.write_text(f"{value}\n")
    monkeypatch.setenv(f"{name}_FILE", str(file))
    got = getattr(read(), name.lower())
    assert (",".join(got) if isinstance(got, tuple) else str(got)) == value


def test_a_file_that_cannot_be_read_is_a_mistake_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A missing file and a directory alike."""
    monkeypatch.setenv("DATABASE_URL_FILE", str(tmp_path / "absent"))
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(tmp_path))
    with pytest.raises(SettingsError) as raised:
        read()
    first, second = str(raised.value).splitlines()
    assert first.startswith("DATABASE_URL: ")
    assert "DATABASE_URL_FILE" in first
    assert second.startswith("KAFKA_SASL_PASSWORD: ")


def test_a_mistake_never_repeats_a_secret(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither of two values that contradict each other is shown."""
    file = tmp_path / "password"
    file.write_text("hunter3")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(file))
    with pytest.raises(SettingsError) as raised:
        read()
    assert "hunter" not in str(raised.value)


def test_secrets_are_masked_wherever_settings_are_shown() -> None:
    """In the table and in the value's own text; an unset secret shows that it is unset."""
    got = Settings(database_url="postgresql://u:hunter2@h/d", kafka_sasl_password="hunter2")
    shown = {name: value for name, value, _ in table(got)}
    assert shown["DATABASE_URL"] == shown["KAFKA_SASL_PASSWORD"] == "********"
    assert "hunter2" not in repr(got) + repr(table(got))
    assert {value for name, value, _ in table(Settings()) if name == "DATABASE_URL"} == {""}


def test_the_table_has_every_setting_with_what_it_is_for() -> None:
    """No name is missing, none is without a description."""
    rows = table(Settings())
    assert {name for name, _, _ in rows} == NAMES
    assert all(len(description) > 10 for _, _, description in rows)


def test_the_readme_has_the_same_table() -> None:
    """Every name with its default and what it is for, in the same order."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    found = re.findall(r"^\| `([A-Z_]+)` \| (?:`(.*?)`)? ?\| (.+) \|$", readme, re.MULTILINE)
    assert found == table(Settings())


@pytest.mark.parametrize(
    "name", sorted(name for name in NAMES if name.endswith("_TIMEOUT") or name == "BODY_LIMIT")
)
@pytest.mark.parametrize("value", ["0", "-1", "inf", "nan"])
def test_no_bound_can_be_switched_off(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero is Postgres's word for no time-out at all."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"^{name}: "):
        read()


@pytest.mark.parametrize("name", ["INGEST_URL", "PUBLIC_URL", "LOADER_CDN_URL"])
@pytest.mark.parametrize("value", ["sentry.io", "ftp://sentry.io", "https://", "https://two words"])
def test_an_address_has_to_be_an_http_url(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every DSN would be wrong otherwise."""
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name}: Not an http or https URL"):
        read()
