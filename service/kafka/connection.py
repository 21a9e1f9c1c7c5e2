"""How Kafka is reached: addresses, encryption and credentials."""

from dataclasses import dataclass, field
from typing import Any

from aiokafka.abc import AbstractTokenProvider
from aiokafka.helpers import create_ssl_context


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """The settings of every connection to Kafka.

    Attributes:
        bootstrap_servers: One or more `host:port`.
        client_id: The name under which the brokers' logs and quotas know this process.
        security_protocol: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
        sasl_mechanism: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`.
        sasl_username: The user; not read for `OAUTHBEARER`.
        sasl_password: The password, or for `OAUTHBEARER` the token.
        ssl_cafile: Certificates that sign the brokers'; the system's where unset.
        ssl_certfile: The certificate this process shows, if the brokers ask for one.
        ssl_keyfile: The private key of `ssl_certfile`.
    """

    bootstrap_servers: tuple[str, ...]
    client_id: str = "projectkeys"
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments of aiokafka's consumer, and of its other clients.

        Raises:
            OSError: A certificate or key file cannot be read, or is not one.
        """
        return {"bootstrap_servers": list(self.bootstrap_servers), **self.security_options()}

    def security_options(self) -> dict[str, Any]:
        """Return `client_options` without the addresses, for one connection to one broker.

        Raises:
            OSError: A certificate or key file cannot be read, or is not one.
        """
        options: dict[str, Any] = {
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = create_ssl_context(
                cafile=self.ssl_cafile, certfile=self.ssl_certfile, keyfile=self.ssl_keyfile
            )
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            if self.sasl_mechanism == "OAUTHBEARER":
                options["sasl_oauth_token_provider"] = _FixedToken(self.sasl_password or "")
            else:
                options["sasl_plain_username"] = self.sasl_username
                options["sasl_plain_password"] = self.sasl_password
        return options


class _FixedToken(AbstractTokenProvider):  # type: ignore[misc]  # -- aiokafka ships no types
    """Gives the one token that the settings hold."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """Return the token."""
        return self._token
