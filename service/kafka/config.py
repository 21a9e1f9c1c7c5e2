"""Connection settings of Kafka: addresses, encryption and credentials."""

import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from aiokafka.abc import AbstractTokenProvider


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """The settings of every connection to Kafka; files are read again for each connection.

    Attributes:
        bootstrap_servers: One or more `host:port`.
        client_id: This process's name in the brokers' logs and quotas.
        security_protocol: `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
        sasl_mechanism: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`.
        sasl_username: The user; not read for `OAUTHBEARER`.
        sasl_password: The password.
        sasl_token: Returns the present token, for `OAUTHBEARER`.
        ssl_cafile: The CA certificates of the brokers' certificates; None: those of the system.
        ssl_certfile: The client certificate of this process, if the brokers require one.
        ssl_keyfile: The private key of `ssl_certfile`.
        reread: Returns the present settings; None: they do not change. Raises OSError if a file cannot be read.
    """

    bootstrap_servers: tuple[str, ...]
    client_id: str = "projectkeys"
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    sasl_token: Callable[[], Awaitable[str]] | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    reread: Callable[[], "KafkaConnection"] | None = field(default=None, repr=False)

    def mistakes(self) -> dict[str, str]:
        """Return the settings that cannot work with any broker: an error for each attribute."""
        errors: dict[str, str] = {}
        if self.security_protocol.startswith("SASL"):
            needed: dict[str, object] = {"username": self.sasl_username, "password": self.sasl_password}
            if self.sasl_mechanism == "OAUTHBEARER":
                needed = {"oauthbearer_token": self.sasl_token}
            missing = [f"sasl_{name}" for name, value in needed.items() if not value]
            errors |= dict.fromkeys(missing, f"Needed for {self.sasl_mechanism}.")
        if self.security_protocol.endswith("SSL"):
            try:
                _ssl_context(self.ssl_cafile, None, None, ())
            except OSError as error:
                return errors | {"ssl_cafile": f"{self.ssl_cafile} cannot be used: {error}."}
            try:
                self._ssl_context()
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
        if self.reread is not None:
            return self.reread().security_options()
        options: dict[str, Any] = {
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
        }
        if self.security_protocol.endswith("SSL"):
            options["ssl_context"] = self._ssl_context()
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            if self.sasl_mechanism == "OAUTHBEARER":
                assert self.sasl_token is not None, "mistakes() reports it"
                options["sasl_oauth_token_provider"] = _TokenProvider(self.sasl_token)
            else:
                options["sasl_plain_username"] = self.sasl_username
                options["sasl_plain_password"] = self.sasl_password
        return options

    def _ssl_context(self) -> ssl.SSLContext:
        files = (self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile)
        stats = [Path(file).stat() for file in files if file is not None]
        return _ssl_context(*files, tuple((each.st_ino, each.st_mtime_ns, each.st_size) for each in stats))


@lru_cache(maxsize=4)
def _ssl_context(
    cafile: str | None, certfile: str | None, keyfile: str | None, _versions: tuple[tuple[int, ...], ...]
) -> ssl.SSLContext:
    """Return the context of these versions of the files; the certificates of the system take 10 ms to read."""
    context = ssl.create_default_context(cafile=cafile)
    if certfile is not None:
        # Without a password argument, OpenSSL prompts on the terminal for the password of an encrypted key.
        context.load_cert_chain(certfile, keyfile, password="")
    return context


class _TokenProvider(AbstractTokenProvider):  # type: ignore[misc]  # -- aiokafka ships no types
    """Provides the token for each connection."""

    def __init__(self, read: Callable[[], Awaitable[str]]) -> None:
        self._read = read

    async def token(self) -> str:
        """Return the present token."""
        return await self._read()
