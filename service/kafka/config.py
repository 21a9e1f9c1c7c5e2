"""Connection settings of Kafka: addresses, encryption and credentials."""

import ssl
from dataclasses import dataclass, field
from typing import Any

from aiokafka.abc import AbstractTokenProvider


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """The settings of every connection to Kafka.

    Attributes:
        bootstrap_servers: One or more `host:port`.
        client_id: This process's name in the brokers' logs and quotas.
        security_protocol: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
        sasl_mechanism: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`.
        sasl_username: The user; not read for `OAUTHBEARER`.
        sasl_password: The password, or for `OAUTHBEARER` the token.
        ssl_cafile: The CA certificates of the brokers' certificates; None: those of the system.
        ssl_certfile: The client certificate of this process, if the brokers require one.
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

    def mistakes(self) -> dict[str, str]:
        """Return the settings that cannot work with any broker: an error for each attribute."""
        errors = {}
        if self.security_protocol.startswith("SASL"):
            if not self.sasl_username and self.sasl_mechanism != "OAUTHBEARER":
                errors["sasl_username"] = f"Needed for {self.sasl_mechanism}."
            if not self.sasl_password:
                errors["sasl_password"] = f"Needed for {self.sasl_mechanism}."
        if self.security_protocol.endswith("SSL"):
            try:
                context = self._ssl_context()
            except OSError as error:
                return errors | {"ssl_cafile": f"{self.ssl_cafile} cannot be used: {error}."}
            try:
                self._load_client_certificate(context)
            except OSError as error:
                errors["ssl_certfile"] = f"{self.ssl_certfile} and its key cannot be used: {error}."
        return errors

    def client_options(self) -> dict[str, Any]:
        """Return the keyword arguments of aiokafka's consumer, and of its other clients.

        Raises:
            OSError: A certificate or key file cannot be read or is not valid.
        """
        return {"bootstrap_servers": list(self.bootstrap_servers), **self.security_options()}

    def security_options(self) -> dict[str, Any]:
        """Return `client_options` without the addresses, for one connection to one broker.

        Raises:
            OSError: A certificate or key file cannot be read or is not valid.
        """
        options: dict[str, Any] = {
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = self._ssl_context()
            self._load_client_certificate(options["ssl_context"])
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            if self.sasl_mechanism == "OAUTHBEARER":
                options["sasl_oauth_token_provider"] = _FixedToken(self.sasl_password or "")
            else:
                options["sasl_plain_username"] = self.sasl_username
                options["sasl_plain_password"] = self.sasl_password
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ssl_cafile)

    def _load_client_certificate(self, context: ssl.SSLContext) -> None:
        if self.ssl_certfile is not None:
            # Without a password argument, OpenSSL prompts on the terminal for the password of an encrypted key.
            context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, password="")


class _FixedToken(AbstractTokenProvider):  # type: ignore[misc]  # -- aiokafka ships no types
    """Provides the token of the settings."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """Return the token."""
        return self._token
