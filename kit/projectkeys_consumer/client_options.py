"""Keyword arguments for aiokafka's clients."""

import ssl
from collections.abc import Sequence
from typing import Any, TypedDict

from aiokafka.abc import AbstractTokenProvider


class Security(TypedDict, total=False):
    """Options for TLS and SASL; names and meanings are those of aiokafka.

    ``security_protocol`` is `PLAINTEXT` (the default), `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`. Without an
    ``ssl_context`` the system's certificates are trusted. ``sasl_mechanism`` is `PLAIN`, `SCRAM-SHA-256`,
    `SCRAM-SHA-512`, `GSSAPI` or `OAUTHBEARER`.
    """

    security_protocol: str
    ssl_context: ssl.SSLContext
    sasl_mechanism: str
    sasl_plain_username: str
    sasl_plain_password: str
    sasl_kerberos_service_name: str
    sasl_kerberos_domain_name: str
    sasl_oauth_token_provider: AbstractTokenProvider


def client_options(bootstrap_servers: str | Sequence[str], *, client_id: str, security: Security) -> dict[str, Any]:
    """Build the keyword arguments that all of aiokafka's clients share.

    Args:
        bootstrap_servers: `host:port` of some brokers, separated by commas or as a sequence.
        client_id: the name of this process in the brokers' logs and quotas.
        security: TLS and SASL options.

    Raises:
        TypeError: ``security`` has an unknown option.
    """
    if unknown := security.keys() - Security.__annotations__.keys():
        raise TypeError(f"unknown options: {', '.join(sorted(unknown))}")
    servers = bootstrap_servers.split(",") if isinstance(bootstrap_servers, str) else list(bootstrap_servers)
    options: dict[str, Any] = {"bootstrap_servers": servers, "client_id": client_id, **security}
    if security.get("security_protocol", "").endswith("SSL") and "ssl_context" not in security:
        options["ssl_context"] = ssl.create_default_context()
    return options
