"""A broker with TLS and SASL listeners, and the certificates and users of one test run."""

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from testkit.cluster import configured_kafka, listener
from tests.conftest import CACHE

USER: Final = "publisher"
PASSWORD: Final = "pass-word-of-one-test"  # noqa: S105 -- of a temporary server
_STORE: Final = {
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
}
_MODULE: Final = "org.apache.kafka.common.security"
_MECHANISMS: Final = {
    "plain": f'{_MODULE}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
    "scram-sha-256": f"{_MODULE}.scram.ScramLoginModule required;",
    "scram-sha-512": f"{_MODULE}.scram.ScramLoginModule required;",
    "oauthbearer": f'{_MODULE}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="broker";',
}


@dataclass(frozen=True, slots=True)
class SecuredKafka:
    """The listeners of the broker and the files that its clients need.

    Attributes:
        plain: The bootstrap servers of a listener without TLS and SASL, for the test itself.
        ports: The port of each listener: ``TLS``, ``MUTUAL`` (requires a client certificate), ``SASLTLS``, ``SASL``.
        ca: The certificate of the authority that signed the broker's.
        other_ca: The certificate of another authority.
        certificate: The client certificate.
        key: Its private key.
    """

    plain: str
    ports: Mapping[str, int]
    ca: Path
    other_ca: Path
    certificate: Path
    key: Path

    def at(self, name: str) -> str:
        """Return the address of a listener, with the host name in the broker's certificate."""
        return f"localhost:{self.ports[name]}"


def token(*, subject: str = USER, seconds: float = 3600) -> str:
    """Return an unsecured JSON Web Token (RFC 7519, section 6), as Kafka's test handler accepts it."""
    now = time.time()
    claims = {"sub": subject, "iat": now, "exp": now + seconds}
    return ".".join([_part({"alg": "none"}), _part(claims), ""])


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _in_pkcs8(certificate: trustme.LeafCert) -> bytes:
    """Return the private key as unencrypted PKCS #8, the only PEM format that Kafka reads."""
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write_files(directory: Path) -> None:
    ours, other = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(directory / "ca.pem")
    other.cert_pem.write_to_path(directory / "other-ca.pem")
    server, client = ours.issue_cert("localhost", "127.0.0.1"), ours.issue_cert("client.example.com")
    chain = b"".join(pem.bytes() for pem in server.cert_chain_pems)
    (directory / "server.pem").write_bytes(_in_pkcs8(server) + chain)
    (directory / "client.pem").write_bytes(client.cert_chain_pems[0].bytes())
    (directory / "client.key").write_bytes(client.private_key_pem.bytes())


@asynccontextmanager
async def secured_kafka(directory: Path) -> AsyncIterator[SecuredKafka]:
    """Run the broker during the block."""
    _write_files(directory)
    listeners = [
        listener("TLS", "SSL"),
        listener("MUTUAL", "SSL"),
        listener("SASLTLS", "SASL_SSL"),
        listener("SASL", "SASL_PLAINTEXT"),
    ]
    properties = {
        **_STORE,
        "ssl.keystore.location": str(directory / "server.pem"),
        "ssl.truststore.location": str(directory / "ca.pem"),
        "listener.name.mutual.ssl.client.auth": "required",
    }
    for name in ("sasltls", "sasl"):
        properties[f"listener.name.{name}.sasl.enabled.mechanisms"] = ",".join(_MECHANISMS).upper()
        for mechanism, module in _MECHANISMS.items():
            properties[f"listener.name.{name}.{mechanism}.sasl.jaas.config"] = module
    users = [f"SCRAM-SHA-{bits}=[name={USER},password={PASSWORD}]" for bits in (256, 512)]
    async with configured_kafka(
        directory, cache_dir=CACHE, listeners=listeners, properties=properties, scram_users=users
    ) as kafka:
        yield SecuredKafka(
            plain=kafka.bootstrap_servers,
            ports={each.name: each.port for each in listeners},
            ca=directory / "ca.pem",
            other_ca=directory / "other-ca.pem",
            certificate=directory / "client.pem",
            key=directory / "client.key",
        )
