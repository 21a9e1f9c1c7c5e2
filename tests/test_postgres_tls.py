"""TLS to Postgres: the service verifies certificate and host name, and errors name the setting to check."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import trustme

from service.app import build, check_dependencies
from service.settings import Settings
from tests.commands import run
from tests.processes import deploy, replica
from tests.tls_front import TlsFront, tls_front


@dataclass(frozen=True, slots=True)
class Secured:
    """A Postgres that accepts only encrypted connections, with a certificate for ``localhost``.

    Attributes:
        front: The TLS proxy in front of it.
        url: The database URL without ``sslmode``, with a placeholder ``{host}``.
        authority: The certificate of the authority that signed the server's.
        other_authority: The certificate of another authority.
    """

    front: TlsFront
    url: str
    authority: Path
    other_authority: Path

    def url_for(self, host: str = "localhost", *, root: Path | str = "", mode: str = "verify-full") -> str:
        """Return the database URL with a host name of this machine; ``root`` is the trusted certificate."""
        parameter = f"&sslrootcert={quote(str(root or self.authority), safe='')}"
        parameters = parameter if mode.startswith("verify") else ""
        return f"{self.url.format(host=host)}?sslmode={mode}{parameters}"


@pytest.fixture
async def secured(database_url: str, tmp_path: Path) -> AsyncIterator[Secured]:
    """Run the TLS proxy in front of the test's database."""
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    files = tmp_path / "authority.pem", tmp_path / "other.pem"
    for file, issuer in zip(files, (authority, other), strict=True):
        issuer.cert_pem.write_to_path(file)
    parts = urlsplit(database_url)
    async with tls_front(parts.port or 0, context) as front:
        url = f"postgresql://{parts.username}:{parts.password}@{{host}}:{front.port}{parts.path}"
        yield Secured(front, url, *files)


async def test_the_service_connects_to_postgres_with_tls(
    secured: Secured, settings: Settings, topic: str, tmp_path: Path
) -> None:
    """The pool and the LISTEN connection use TLS 1.3 and verify certificate and host name."""
    deployment = await deploy(settings)
    async with replica(deployment, tmp_path, DATABASE_URL=secured.url_for(), KAFKA_TOPIC=topic) as server:
        assert (await server.readyz())[0] == 200
        assert "wakeup" not in server.process.errors
    assert len(secured.front.versions) >= 2
    assert set(secured.front.versions) == {"TLSv1.3"}


@pytest.mark.parametrize(
    ("host", "root", "mode", "message"),
    [
        pytest.param(
            "localhost",
            "other",
            "verify-full",
            "the server certificate is not valid: ",
            id="another authority",
        ),
        pytest.param("127.0.0.1", "authority", "verify-full", "IP address mismatch", id="another host name"),
        pytest.param("localhost", "missing", "verify-full", "a file does not exist: check sslrootcert", id="no file"),
        pytest.param("localhost", "", "disable", "no encryption", id="unencrypted"),
    ],
)
async def test_readiness_and_commands_report_what_is_wrong_with_tls(
    secured: Secured,
    settings: Settings,
    host: str,
    root: str,
    mode: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The text names the setting to check and omits the password; the service never connects unencrypted instead."""
    files = {
        "other": secured.other_authority,
        "authority": secured.authority,
        "missing": Path("/missing/ca.pem"),
    }
    url = secured.url_for(host, root=files.get(root, ""), mode=mode)
    service = build(Settings(database_url=url, kafka_bootstrap_servers=settings.kafka_bootstrap_servers))
    await service.database.start()
    try:
        problem = (await check_dependencies(service))["postgres"]
    finally:
        await service.database.close()
    monkeypatch.setenv("DATABASE_URL", url)
    assert await run("migrate", "--check") == 1
    printed = capsys.readouterr().err
    password = urlsplit(settings.database_url).password or ""
    for text in (problem, printed):
        assert message in text
        assert password not in text
        assert "Traceback" not in text
    assert len(secured.front.versions) == 0


async def test_verify_ca_does_not_check_the_host_name(secured: Secured, settings: Settings) -> None:
    """It is weaker than ``verify-full``, for servers whose certificates have other names."""
    url = secured.url_for("127.0.0.1", mode="verify-ca")
    service = build(Settings(database_url=url, kafka_bootstrap_servers=settings.kafka_bootstrap_servers))
    await service.database.start()
    try:
        assert (await check_dependencies(service))["postgres"] == "ok"
    finally:
        await service.database.close()
