"""The connection parameters of Kafka, from the settings."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from service.environment import SettingsError, reread
from service.kafka.client_credentials import ClientCredentials, ClientCredentialsTokens
from service.kafka.config import KafkaConnection
from service.settings import KafkaSettings


def kafka_connection(settings: KafkaSettings) -> KafkaConnection:
    """Return the connection parameters of Kafka, whose files are read again for each connection.

    Raises:
        SettingsError: A credential is missing, or a certificate file cannot be used.
    """

    def current() -> KafkaSettings:
        try:
            return reread(settings)
        except SettingsError as error:
            raise OSError(str(error)) from None

    token = _token_source(settings, current)
    connection = _connection(settings, token)
    if mistakes := connection.mistakes():
        raise SettingsError("\n".join(f"KAFKA_{name.upper()}: {text}" for name, text in mistakes.items()))
    return replace(connection, reread=lambda: _connection(current(), token))


def _connection(settings: KafkaSettings, token: Callable[[], Awaitable[str]] | None) -> KafkaConnection:
    return KafkaConnection(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username or None,
        sasl_password=settings.kafka_sasl_password or None,
        sasl_token=token,
        ssl_cafile=settings.kafka_ssl_cafile or None,
        ssl_certfile=settings.kafka_ssl_certfile or None,
        ssl_keyfile=settings.kafka_ssl_keyfile or None,
    )


def _token_source(
    settings: KafkaSettings, current: Callable[[], KafkaSettings]
) -> Callable[[], Awaitable[str]] | None:
    """Return a function that returns the present token of OAUTHBEARER; None if no setting provides one."""
    if settings.kafka_sasl_oauthbearer_token_endpoint_url:

        def client() -> ClientCredentials:
            now = current()
            return ClientCredentials(
                endpoint=now.kafka_sasl_oauthbearer_token_endpoint_url,
                client_id=now.kafka_sasl_oauthbearer_client_id,
                client_secret=now.kafka_sasl_oauthbearer_client_secret,
                scope=now.kafka_sasl_oauthbearer_scope,
            )

        return ClientCredentialsTokens(client, timeout=settings.kafka_request_timeout).token
    if not (settings.kafka_sasl_oauthbearer_token or settings.kafka_sasl_password):
        return None

    async def token() -> str:
        now = current()
        return now.kafka_sasl_oauthbearer_token or now.kafka_sasl_password

    return token
