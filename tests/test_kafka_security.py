"""TLS and SASL against the real broker: valid credentials work, others give an error without any secret."""

import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from projectkeys_consumer import NotReadyError, ProjectKeys
from projectkeys_servers.ports import free_port
from service.app import build, publishing
from service.environment import SettingsError
from service.kafka.errors import KafkaUnavailableError
from service.kafka.producer import FencedProducer
from service.kafka_connection import kafka_connection
from service.settings import Settings
from testkit.polling import poll_until
from tests.conftest import MakeApi
from tests.kafka_harness import new_topic
from tests.processes import deploy, running
from tests.secured_kafka import PASSWORD, USER, SecuredKafka, secured_kafka, token

_WRONG: Final = "a-wrong-secret"
_ENDS_WITHIN: Final = 20.0


@pytest.fixture(scope="module")
async def secured(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[SecuredKafka]:
    """A broker that asks who is there, for all of these tests."""
    async with secured_kafka(tmp_path_factory.mktemp("secured")) as kafka:
        yield kafka


Way = Callable[[SecuredKafka], dict[str, str]]
"""Settings, by the names of their fields, that lead to the broker."""


def _at(kafka: SecuredKafka, listener: str, protocol: str, **more: str) -> dict[str, str]:
    trust = {"kafka_ssl_cafile": str(kafka.ca)} if protocol.endswith("SSL") else {}
    return {
        "kafka_bootstrap_servers": kafka.at(listener),
        "kafka_security_protocol": protocol,
        **trust,
        **more,
    }


def _tls(kafka: SecuredKafka) -> dict[str, str]:
    return _at(kafka, "TLS", "SSL")


def _certificate(kafka: SecuredKafka) -> dict[str, str]:
    files = {"kafka_ssl_certfile": str(kafka.certificate), "kafka_ssl_keyfile": str(kafka.key)}
    return _at(kafka, "MUTUAL", "SSL", **files)


def _sasl(mechanism: str, *, secret: str = PASSWORD, user: str = USER, listener: str = "SASLTLS") -> Way:
    protocol = "SASL_SSL" if listener == "SASLTLS" else "SASL_PLAINTEXT"

    def way(kafka: SecuredKafka) -> dict[str, str]:
        who = {"kafka_sasl_mechanism": mechanism, "kafka_sasl_username": user, "kafka_sasl_password": secret}
        return _at(kafka, listener, protocol, **who)

    return way


def _named(settings: Settings, given: dict[str, str], **more: str) -> Settings:
    servers = (given["kafka_bootstrap_servers"],)
    return replace(settings, **(given | more | {"kafka_bootstrap_servers": servers}))  # type: ignore[arg-type]  # -- texts


_WAYS: Final = {
    "TLS": _tls,
    "a certificate": _certificate,
    "PLAIN": _sasl("PLAIN"),
    "SCRAM-SHA-256": _sasl("SCRAM-SHA-256"),
    "SCRAM-SHA-512": _sasl("SCRAM-SHA-512"),
    "OAUTHBEARER": _sasl("OAUTHBEARER", secret=token(), user=""),
    "SCRAM-SHA-512 without TLS": _sasl("SCRAM-SHA-512", listener="SASL"),
}


@pytest.mark.parametrize("way", _WAYS.values(), ids=_WAYS)
async def test_valid_credentials_publish_and_read(
    way: Way, secured: SecuredKafka, settings: Settings, make_api: MakeApi
) -> None:
    """From the check of the topic to the kit that reads: the same settings, the same security."""
    topic = await new_topic(secured.plain)
    given = _named(settings, way(secured), kafka_topic=topic)
    joined = build(given)
    async with publishing(joined):
        api = await make_api(joined)
        answer = await api.create({"name": "Secured"}, headers={"Prefer": "wait=10"})
        assert (answer.status, answer.headers["Event-Status"]) == (201, "published")
        key = (await answer.json())["id"]
    security = kafka_connection(given).security_options()
    async with ProjectKeys(bootstrap_servers=given.kafka_bootstrap_servers, topic=topic, **security) as keys:
        await keys.ready(10.0)
        state = keys.get(key)
    assert state is not None
    assert state.name == "Secured"


def _wrong_ca(kafka: SecuredKafka) -> dict[str, str]:
    return {**_tls(kafka), "kafka_ssl_cafile": str(kafka.other_ca)}


def _no_certificate(kafka: SecuredKafka) -> dict[str, str]:
    return _at(kafka, "MUTUAL", "SSL")


def _no_tls(kafka: SecuredKafka) -> dict[str, str]:
    return _at(kafka, "TLS", "PLAINTEXT")


_WRONG_WAYS: Final = {
    "wrong authority": (_wrong_ca, "certificate verify failed"),
    "no certificate": (_no_certificate, "or a client certificate"),
    "no TLS": (_no_tls, "the listener may need another KAFKA_SECURITY_PROTOCOL"),
    "PLAIN": (_sasl("PLAIN", secret=_WRONG), "Authentication failed: Invalid username or password"),
    "SCRAM-SHA-512": (_sasl("SCRAM-SHA-512", secret=_WRONG), "invalid credentials"),
    "unknown user": (_sasl("SCRAM-SHA-512", user="unknown", secret=_WRONG), "invalid credentials"),
    "OAUTHBEARER": (_sasl("OAUTHBEARER", secret=_WRONG), "the credentials are not accepted"),
    "expired token": (_sasl("OAUTHBEARER", secret=token(seconds=-60)), "the credentials are not accepted"),
}


@pytest.mark.parametrize(("way", "words"), _WRONG_WAYS.values(), ids=_WRONG_WAYS)
async def test_invalid_credentials_are_an_error_with_the_reason(
    way: Way, words: str, secured: SecuredKafka, settings: Settings, tmp_path: Path
) -> None:
    """A command exits at once; a publisher retries and can be stopped. Neither logs a secret."""
    given = _named(settings, way(secured), kafka_topic="any")
    deployment = await deploy(given)
    ports = {"PORT": str(free_port()), "OPS_PORT": str(free_port())}
    named = {name.upper(): value for name, value in way(secured).items()}
    environment = {**deployment.environment, **named, **ports}
    secret = environment.get("KAFKA_SASL_PASSWORD", _WRONG)
    async with (
        running("publish", environment=environment, directory=tmp_path) as publisher,
        running("events", "tail", environment=environment, directory=tmp_path) as tail,
    ):
        assert await tail.wait_for_exit(timeout=_ENDS_WITHIN) == 1
        assert words in tail.errors
        await poll_until(lambda: _has_event(publisher.errors, "kafka_unavailable", words))
        assert not _has_event(publisher.errors, "topic_not_checked", "")
        assert publisher.errors.count('"shard_failed"') == 0
        publisher.signal(signal.SIGTERM)
        assert await publisher.wait_for_exit(timeout=_ENDS_WITHIN) == 0
        for said in (tail.output, tail.errors, publisher.output, publisher.errors):
            assert "Traceback" not in said
            assert secret not in said


def _has_event(log: str, event: str, words: str) -> bool:
    return any(f'"{event}"' in line and words in line for line in log.splitlines())


@pytest.mark.parametrize(("way", "words"), _WRONG_WAYS.values(), ids=_WRONG_WAYS)
async def test_a_consumer_with_invalid_credentials_gets_the_reason(
    way: Way, words: str, secured: SecuredKafka, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """By what its waiting ends with, and in the log; without the secret."""
    given = _named(settings, way(secured))
    security = kafka_connection(given).security_options()
    async with ProjectKeys(bootstrap_servers=given.kafka_bootstrap_servers, topic="any", **security) as keys:
        with pytest.raises(NotReadyError) as refused:
            await keys.ready(2.0)
    known = {
        "or a client certificate": "closed",
        "the listener may need another KAFKA_SECURITY_PROTOCOL": "closed",
    }
    known["the credentials are not accepted"] = "IllegalSaslState"
    assert known.get(words, words) in str(refused.value)
    assert (given.kafka_sasl_password or _WRONG) not in caplog.text + str(refused.value)


async def test_a_renewed_client_certificate_is_used_for_the_next_connection(
    secured: SecuredKafka, settings: Settings, tmp_path: Path
) -> None:
    """By the publisher too, without a restart."""
    files = {"kafka_ssl_certfile": tmp_path / "client.pem", "kafka_ssl_keyfile": tmp_path / "client.key"}
    other = trustme.CA().issue_cert("client.example.com")
    files["kafka_ssl_certfile"].write_bytes(other.cert_chain_pems[0].bytes())
    files["kafka_ssl_keyfile"].write_bytes(other.private_key_pem.bytes())
    topic = await new_topic(secured.plain)
    way = {**_certificate(secured), **{name: str(path) for name, path in files.items()}}
    producer = FencedProducer(kafka_connection(_named(settings, way)), topic=topic)
    with pytest.raises(KafkaUnavailableError, match="client certificate"):
        await producer.open(0)
    files["kafka_ssl_certfile"].write_bytes(secured.certificate.read_bytes())
    files["kafka_ssl_keyfile"].write_bytes(secured.key.read_bytes())
    await poll_until(lambda: _opens(producer))
    await producer.close()


async def test_a_consumer_uses_a_password_that_was_changed(
    secured: SecuredKafka, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a restart of its process."""
    file = tmp_path / "password"
    file.write_text(_WRONG)
    monkeypatch.setenv("KAFKA_SASL_PASSWORD_FILE", str(file))
    topic = await new_topic(secured.plain)
    connection = kafka_connection(_named(settings, _sasl("SCRAM-SHA-512")(secured)))
    async with ProjectKeys(
        bootstrap_servers=connection.bootstrap_servers, topic=topic, read_security=connection.security_options
    ) as keys:
        with pytest.raises(NotReadyError, match="invalid credentials"):
            await keys.ready(2.0)
        file.write_text(PASSWORD)
        await keys.ready(20.0)


async def _opens(producer: FencedProducer) -> bool:
    try:
        await producer.open(0)
    except KafkaUnavailableError:  # of the backoff
        return False
    return True


async def test_settings_that_no_broker_can_accept_are_an_error(
    secured: SecuredKafka, settings: Settings, tmp_path: Path
) -> None:
    """Every one under its name, and nothing is asked on the terminal."""
    sealed = tmp_path / "sealed.key"
    sealed.write_bytes(_sealed(secured.key.read_bytes()))
    sasl = {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_sasl_mechanism": "SCRAM-SHA-512"}
    tls = {"kafka_security_protocol": "SSL", "kafka_ssl_cafile": str(secured.ca)}
    certificate = {"kafka_ssl_certfile": str(secured.certificate)}
    for given, names in (
        (sasl, ["KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"]),
        ({**sasl, "kafka_sasl_mechanism": "OAUTHBEARER"}, ["KAFKA_SASL_OAUTHBEARER_TOKEN"]),
        ({**tls, "kafka_ssl_cafile": str(tmp_path / "none")}, ["KAFKA_SSL_CAFILE"]),
        ({**tls, "kafka_ssl_cafile": str(secured.key)}, ["KAFKA_SSL_CAFILE"]),
        ({**tls, **certificate}, ["KAFKA_SSL_CERTFILE"]),
        ({**tls, **certificate, "kafka_ssl_keyfile": str(sealed)}, ["KAFKA_SSL_CERTFILE"]),
    ):
        with pytest.raises(SettingsError) as mistakes:
            build(replace(settings, **given))  # type: ignore[arg-type]  # -- texts
        assert [line.partition(":")[0] for line in str(mistakes.value).splitlines()] == names


def _sealed(key: bytes) -> bytes:
    loaded = load_pem_private_key(key, None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame"))


async def test_a_wrong_file_ends_a_process_with_the_code_for_settings(tmp_path: Path) -> None:
    """A restart would not help."""
    environment = {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CAFILE": str(tmp_path / "none")}
    for command in (["serve"], ["publish"], ["events", "tail"]):
        async with running(*command, environment=environment, directory=tmp_path) as process:
            assert await process.wait_for_exit(timeout=_ENDS_WITHIN) == 78
            assert f"KAFKA_SSL_CAFILE: {tmp_path / 'none'} cannot be used" in process.errors
