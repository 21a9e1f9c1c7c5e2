"""The connection parameters of Kafka, from the settings."""

from service.environment import SettingsError
from service.kafka.config import KafkaConnection
from service.settings import KafkaSettings


def kafka_connection(settings: KafkaSettings) -> KafkaConnection:
    """Return the connection parameters of Kafka.

    Raises:
        SettingsError: A credential is missing, or a certificate file cannot be used.
    """
    connection = KafkaConnection(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username or None,
        sasl_password=settings.kafka_sasl_password or None,
        ssl_cafile=settings.kafka_ssl_cafile or None,
        ssl_certfile=settings.kafka_ssl_certfile or None,
        ssl_keyfile=settings.kafka_ssl_keyfile or None,
    )
    if mistakes := connection.mistakes():
        raise SettingsError("\n".join(f"KAFKA_{name.upper()}: {text}" for name, text in mistakes.items()))
    return connection
