"""TLS to Postgres as production asks for it: checked to the name, and every mistake told in words that help."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import trustme

from service.app import build
from service.settings import Settings
from tests.commands import run
from tests.processes import deploy, replica
from tests.tls_front import TlsFront, tls_front


@dataclass(frozen=True, slots=True)
class Secured:
    """A Postgres that takes encrypted connections alone, with a certificate for ``localhost``."""

    front: TlsFront
    url: str
    """Without its ``sslmode``; with a place for the host."""
    authority: Path
    stranger: Path
    """The certificate of another authority."""

    def by(self, host: str = "localhost", *, trusts: Path | str = "", mode: str = "verify-full") -> str:
        """The URL of the database by a name of this machine."""
        root = (
            f"&sslrootcert={quote(str(trusts or self.authority), safe='')}"
            if mode.startswith("verify")
            else ""
        )
        return f"{self.url.format(host=host)}?sslmode={mode}{root}"


@pytest.fixture
async def secured(database_url: str, tmp_path: Path) -> AsyncIterator[Secured]:
    """In front of the database of one test."""
    authority, stranger = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    files = tmp_path / "authority.pem", tmp_path / "stranger.pem"
    for file, one in zip(files, (authority, stranger), strict=True):
        one.cert_pem.write_to_path(file)
    parts = urlsplit(database_url)
    async with tls_front(parts.port or 0, context) as front:
        url = f"postgresql://{parts.username}:{parts.password}@{{host}}:{front.port}{parts.path}"
        yield Secured(front, url, *files)


async def test_the_service_serves_through_tls(
    secured: Secured, settings: Settings, topic: str, tmp_path: Path
) -> None:
    """Its pool and its ear for notifications; with TLS 1.3, the certificate checked up to the name."""
    deployment = await deploy(settings)
    async with replica(deployment, tmp_path, DATABASE_URL=secured.by(), KAFKA_TOPIC=topic) as server:
        assert (await server.readyz())[0] == 200
        assert "wakeup" not in server.process.errors
    assert len(secured.front.versions) >= 2
    assert set(secured.front.versions) == {"TLSv1.3"}


@pytest.mark.parametrize(
    ("host", "trusts", "mode", "words"),
    [
        pytest.param(
            "localhost", "stranger", "verify-full", "its certificate is refused: ", id="another authority"
        ),
        pytest.param("127.0.0.1", "authority", "verify-full", "IP address mismatch", id="another name"),
        pytest.param(
            "localhost", "nowhere", "verify-full", "a file is not there: look at sslrootcert", id="no file"
        ),
        pytest.param("localhost", "", "disable", "no encryption", id="in the clear"),
    ],
)
async def test_what_is_wrong_is_told_by_readiness_and_by_commands(
    secured: Secured,
    settings: Settings,
    host: str,
    trusts: str,
    mode: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In words that name what to look at, without the password; nothing is sent in the clear instead."""
    files = {"stranger": secured.stranger, "authority": secured.authority, "nowhere": Path("/nowhere/ca.pem")}
    url = secured.by(host, trusts=files.get(trusts, ""), mode=mode)
    service = build(Settings(database_url=url, kafka_bootstrap_servers=settings.kafka_bootstrap_servers))
    await service.database.start()
    try:
        said = (await service.health.checks())["postgres"]
    finally:
        await service.database.close()
    monkeypatch.setenv("DATABASE_URL", url)
    assert await run("migrate", "--check") == 1
    printed = capsys.readouterr().err
    password = urlsplit(settings.database_url).password or ""
    for text in (said, printed):
        assert words in text
        assert password not in text
        assert "Traceback" not in text
    assert len(secured.front.versions) == 0


async def test_a_name_is_not_asked_for_where_only_the_authority_is(
    secured: Secured, settings: Settings
) -> None:
    """``verify-ca`` for those whose certificates have other names; it is weaker, and it is the operator's choice."""
    url = secured.by("127.0.0.1", mode="verify-ca")
    service = build(Settings(database_url=url, kafka_bootstrap_servers=settings.kafka_bootstrap_servers))
    await service.database.start()
    try:
        assert (await service.health.checks())["postgres"] == "ok"
    finally:
        await service.database.close()
