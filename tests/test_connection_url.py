"""libpq's connection parameters: each is passed on, translated or refused by name."""

import re
import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from service.app import open_database
from service.domain.errors import UnreachableError
from service.postgres.connection_url import ConnectionParameters, connection_parameters
from service.postgres.database import Database, Limits
from service.settings import DatabaseSettings
from testkit.processes import ROOT
from tests.commands import run


def _parameters(query: str, **environment: str) -> ConnectionParameters:
    return connection_parameters(f"postgresql://user:secret@db.example.com:5433/keys?{query}", environment)


@pytest.mark.parametrize(
    ("query", "advice"),
    [
        ("channel_binding=require", "use sslmode=verify-full"),
        ("gssencmode=require", "use sslmode"),
        ("sslsni=0", "always sends the name of the server"),
        ("load_balance_hosts=random", "use target_session_attrs=primary"),
        ("client_encoding=LATIN1", "the service uses UTF-8"),
        ("connect_timeout=soon", "it must match"),
        ("sslmode=no-verify", "verify-full"),
        ("require_auth=scram-sha-256", "is not supported"),
        ("schema=keys", "options=-c"),
        ("hostaddr=192.0.2.1&sslmode=verify-full", "cannot verify the host name"),
        ("sslrootcert=system&sslmode=require", "needs sslmode=verify-full"),
        ("sslcrl=/tmp/crl&sslrootcert=system", "does not work with sslrootcert=system"),
    ],
)
def test_what_the_driver_cannot_do_is_refused_by_name(query: str, advice: str) -> None:
    """With what to write instead; the error quotes no password."""
    with pytest.raises(ValueError, match=query.partition("=")[0]) as refused:
        _parameters(query)
    assert advice in str(refused.value)
    assert str(refused.value).startswith("DATABASE_URL: ")
    assert "secret" not in str(refused.value)


def test_all_mistakes_are_reported_together_with_their_sources() -> None:
    """From the URL and from variables."""
    with pytest.raises(ValueError, match="sslsni") as refused:
        _parameters("sslsni=0", PGGSSENCMODE="require", PGREQUIREAUTH="md5")
    sources = [line.partition(":")[0] for line in str(refused.value).splitlines()]
    assert sorted(sources) == ["DATABASE_URL", "PGGSSENCMODE", "PGREQUIREAUTH"]
    with pytest.raises(ValueError, match="PGHOSTADDR: hostaddr: the driver cannot verify"):
        _parameters("sslmode=verify-full", PGHOSTADDR="192.0.2.1")


@pytest.mark.parametrize(
    "query",
    [
        "channel_binding=prefer&gssencmode=prefer&sslsni=1&load_balance_hosts=disable&sslcompression=0",
        "client_encoding=utf8&sslcertmode=allow&max_protocol_version=latest",
    ],
)
def test_values_that_change_nothing_are_accepted_and_not_sent_to_the_server(query: str) -> None:
    """The server would reject unknown parameters when the first request needs a connection."""
    parameters = _parameters(query)
    assert parameters.arguments["dsn"] == "postgresql://user:secret@/keys"
    assert parameters.server_settings == {"application_name": "projectkeys"}


def test_parameters_are_translated() -> None:
    """Names, timeouts, options of the server, PgBouncer and the options of the socket."""
    parameters = _parameters(
        "connect_timeout=7&application_name=keys&options=-csearch_path%3Dkeys&pgbouncer=true"
        "&keepalives_idle=30&keepalives_interval=5&keepalives_count=3&tcp_user_timeout=9000"
    )
    assert parameters.timeout == 7
    assert parameters.through_pgbouncer
    assert parameters.server_settings == {"application_name": "keys", "options": "-csearch_path=keys"}
    assert dict(each[1:] for each in parameters.socket_options) == {
        socket.SO_KEEPALIVE: 1,
        socket.TCP_KEEPIDLE: 30,
        socket.TCP_KEEPINTVL: 5,
        socket.TCP_KEEPCNT: 3,
        socket.TCP_USER_TIMEOUT: 9000,
    }
    assert _parameters("keepalives=0").socket_options == ()
    assert _parameters("hostaddr=192.0.2.1").arguments["host"] == ["192.0.2.1"]
    assert _parameters("hostaddr=192.0.2.1").arguments["port"] == [5433]


def test_the_authorities_of_the_system_are_trusted_with_verification_of_the_host() -> None:
    """As libpq does with sslrootcert=system; the driver would look for a file of this name."""
    context = _parameters("sslrootcert=system").context
    assert context is not None
    assert (context().verify_mode, context().check_hostname) == (ssl.CERT_REQUIRED, True)


@pytest.mark.parametrize(
    ("url", "hosts", "ports"),
    [
        ("postgresql://a:1,b:2/d", ["a", "b"], [1, 2]),
        ("postgresql://[::1]:5/d", ["::1"], [5]),
        ("postgresql://[::1]/d", ["::1"], [5432]),
        ("postgresql://%2Frun%2Fpg/d", ["/run/pg"], [5432]),
        ("postgresql:///d?host=/run/pg&port=7", ["/run/pg"], [7]),
        ("", ["env"], [6]),
    ],
)
def test_hosts_and_ports_are_those_of_the_url_before_those_of_variables(
    url: str, hosts: list[str], ports: list[int]
) -> None:
    """Also IPv6 addresses and directories of sockets."""
    environment = {"PGHOST": "env"} | ({} if url else {"PGPORT": "6"})
    arguments = connection_parameters(url, environment).arguments
    assert (arguments["host"], arguments["port"]) == (hosts, ports)


def test_a_service_file_and_the_variables_of_libpq_apply(tmp_path: Path) -> None:
    """The URL precedes the service, and the service precedes variables."""
    file = tmp_path / "services.conf"
    file.write_text("[keys]\nhost=service.example.com\nport=7\nconnect_timeout=4\nuser=service\n")
    variables = {
        "PGSERVICE": "keys",
        "PGSERVICEFILE": str(file),
        "PGOPTIONS": "-c jit=on",
        "PGUSER": "variable",
    }
    parameters = connection_parameters("postgresql://url@/d", variables)
    assert (parameters.host, parameters.port, parameters.timeout) == ("service.example.com", "7", 4)
    assert parameters.arguments["dsn"].startswith("postgresql://url@/d")
    assert parameters.server_settings["options"] == "-c jit=on"
    with pytest.raises(ValueError, match="PGSERVICE: the connection service file has no service 'other'"):
        connection_parameters("", variables | {"PGSERVICE": "other"})
    file.write_text("password=hunter2\n")
    with pytest.raises(ValueError, match="is not a connection service file") as refused:
        connection_parameters("", variables)
    assert "hunter2" not in str(refused.value)


def test_the_documented_settings_of_the_role_are_those_of_a_session() -> None:
    """Through PgBouncer an operator has to set them; one more is on by default and is not documented."""
    text = (ROOT / "docs" / "operations.md").read_text()
    documented = set(re.findall(r"ALTER ROLE projectkeys_service SET (\w+) =", text))
    needed = Database(lambda: "", Limits()).session_parameters.keys() - {"standard_conforming_strings"}
    assert documented == needed


async def test_every_parameter_works_with_the_real_server(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session has the name, the options and the options of the socket."""
    parts = urlsplit(database_url)
    file = tmp_path / "services.conf"
    login = f"user={parts.username}\npassword={parts.password}\ndbname={parts.path[1:]}\n"
    file.write_text(f"[keys]\nhost=127.0.0.1\nport={parts.port}\n{login}keepalives_idle=77\n")
    for name, value in {"PGSERVICE": "keys", "PGSERVICEFILE": str(file), "PGAPPNAME": "named"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGOPTIONS", "-c work_mem=5MB")
    database = Database(lambda: "", Limits())
    await database.start()
    async with database.connection() as connection:
        assert await connection.fetchval("SHOW work_mem") == "5MB"
        assert await connection.fetchval("SHOW application_name") == "named"
        [holder] = [each for each in database._pool._holders if each._con]  # type: ignore[union-attr]  # -- started
        kernel = holder._con._transport.get_extra_info("socket")
        assert kernel.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
    await database.close()


async def test_a_refused_parameter_ends_services_and_commands_with_the_code_for_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before they connect."""
    monkeypatch.setenv("DATABASE_URL", "postgresql://h/d?channel_binding=require")
    for command in ("serve", "migrate"):
        assert await run(command) == 78
        assert "DATABASE_URL: channel_binding=require is not supported" in capsys.readouterr().err


async def test_a_rewritten_file_is_read_for_the_next_connection(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that rotates needs no restart; an empty file, which is being rewritten, changes nothing."""
    file = tmp_path / "url"
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    file.write_text("postgresql://user@127.0.0.1:1/none")
    database = open_database(DatabaseSettings(database_url="postgresql://user@127.0.0.1:1/none"))
    await database.start()
    for text, works in (("", False), (database_url, True)):
        file.write_text(text)
        database._outage.ended()
        if works:
            async with database.connection() as connection:
                assert await connection.fetchval("SELECT true")
        else:
            with pytest.raises(UnreachableError):
                async with database.connection():
                    pass
    await database.close()
