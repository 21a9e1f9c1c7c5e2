"""The settings of the edge."""

from dataclasses import dataclass
from typing import Final

from marshmallow.validate import Range, Regexp

from service.environment import SettingsGroup, setting
from service.setting_checks import topic_name

FEATURES: Final = (
    "organizations:session-replay",
    "organizations:profiling",
    "organizations:continuous-profiling",
    "organizations:standalone-span-ingestion",
    "organizations:ourlogs-ingestion",
    "organizations:tracemetrics-ingestion",
    "organizations:relay-otlp-traces-endpoint",
    "organizations:relay-otel-logs-endpoint",
)
"""Those that let Relay accept all kinds of items that SDKs send; errors, transactions and sessions need none."""


@dataclass(frozen=True, kw_only=True)
class EdgeSettings(SettingsGroup):
    """The edge."""

    edge_port: int = setting(
        8082, "Port of the edge; 0: any free port, which the log contains.", check=Range(min=0, max=65535)
    )
    edge_token: str = setting(
        "",
        "Token of /auth (header X-Edge-Token) and of /keys/ (also as a bearer token). If empty, /auth needs none and "
        "/keys/ does not exist.",
        check=Regexp(r"^(\S{16,})?$", error="Must have at least 16 characters, without spaces."),
        secret=True,
    )
    edge_snapshot: str = setting(
        "",
        "File that stores the keys between runs, for a start in seconds and without Kafka; if empty, none.",
    )
    edge_features: tuple[str, ...] = setting(
        FEATURES,
        "Features of every project in the configurations that relays receive, separated by commas.",
        check=lambda features: features or FEATURES,
    )
    edge_fail_open: bool = setting(
        default=False,
        description="Whether /auth allows every request while the keys are not loaded; otherwise it refuses them.",
    )
    relay_public_keys_file: str = setting(
        "",
        'JSON file with the relays that may connect: {"<relay id>": {"public_key": "…", "internal": true}}; it is '
        "read again when it changes. If empty, none.",
    )
    relay_secret: str = setting(
        "",
        "Secret that authenticates the registration of relays; the same for all replicas. Required with "
        "RELAY_PUBLIC_KEYS_FILE.",
        check=Regexp(r"^(.{16,})?$", error="Must have at least 16 characters."),
        secret=True,
    )
    outcomes_topic: str = setting(
        "outcomes",
        "Topic of the outcomes: the edge writes those that relays report, USAGE reads them.",
        check=topic_name,
    )

    def mistakes(self) -> dict[str, str]:
        """Return the values that contradict each other: an error for each name."""
        found = super().mistakes()
        if self.relay_public_keys_file and not self.relay_secret:
            found |= {"RELAY_SECRET": "Required with RELAY_PUBLIC_KEYS_FILE; use the same for all replicas."}
        return found
