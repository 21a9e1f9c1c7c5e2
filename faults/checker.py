"""Checks the invariants: the responses to clients against the contents of Postgres and Kafka.

The checker imports nothing of the service or of testkit, so that an error there cannot hide itself.

The invariants:

- I1 no lost key: each acknowledged change is stored, unless a later change replaced it.
- I2 no lost event: the topic contains an event of every committed change.
- I3 no phantom: every event describes a committed change that a client requested, once, with its content.
- I4 order: a key's versions first appear as 1, 2, 3 …, the deletion last; the last record is the newest version.
- I5 duplicates: copies are equal, and not more than the faults explain.
- I6 idempotency: an idempotency key creates at most one key, and a replay returns it.
- I7 tenants: everything belongs to the project in the request.
- I8 confidentiality: no secret in an event, in the audit, in a log.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from faults import state_rules, topic_rules
from faults.evidence import PostgresState, TopicRecord
from faults.history import Call, Outcome
from faults.violation import Violation

_HEX: Final = re.compile(r"[0-9a-f]{32,}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a run; ``unavailable`` requests had no response or a 5xx."""

    acknowledged: int
    refused: int
    unavailable: int
    duplicates: int
    violations: Sequence[Violation] = field(default_factory=list)

    def count(self, *invariants: str) -> int:
        """Return the number of violations of these invariants."""
        return sum(violation.invariant in invariants for violation in self.violations)


def check(
    calls: Sequence[Call],
    stored: PostgresState,
    records: Sequence[TopicRecord],
    *,
    duplicates_allowed: int,
    texts: Iterable[str] = (),
    tokens: Iterable[str] = (),
) -> Verdict:
    """Check a run after recovery, when every event is published.

    Args:
        calls: All requests to the service.
        stored: What Postgres contains then.
        records: What the topic contains then.
        duplicates_allowed: The number of copies that the faults explain: a batch for each fault, 0 without one.
        texts: The service's logs and other texts that must not contain a secret.
        tokens: The clients' API tokens.
    """
    outcomes = Counter(call.outcome for call in calls)
    events = [record for record in records if record.is_event]
    copies = len(events) - len({record.headers.get("ce_id") for record in events})
    violations = [
        *state_rules.lost_keys(calls, stored),
        *state_rules.lost_events(calls, stored, events),
        *state_rules.phantoms(calls, stored, events),
        *state_rules.idempotency(calls, stored, events),
        *state_rules.tenants(calls, stored, events),
        *topic_rules.order(events),
        *topic_rules.real_time(calls, events),
        *topic_rules.duplicates(events, allowed=duplicates_allowed),
        *_exposed_secrets(calls, stored, records, texts, tokens),
    ]
    return Verdict(outcomes[Outcome.OK], outcomes[Outcome.REFUSED], outcomes[Outcome.UNKNOWN], copies, violations)


def _exposed_secrets(
    calls: Iterable[Call],
    stored: PostgresState,
    records: Iterable[TopicRecord],
    texts: Iterable[str],
    tokens: Iterable[str],
) -> list[Violation]:
    secrets = {call.secret for call in calls if call.secret} | {row.secret for row in stored.keys.values()}
    # A token consists of a prefix and hex digits.
    secrets |= {found for token in tokens for found in _HEX.findall(token)}
    places = [
        *((f"offset {record.offset} of partition {record.partition}", _text(record)) for record in records),
        *(("the audit or the outbox", text) for text in stored.texts),
        *(("a log", text) for text in texts),
    ]
    return [
        Violation("I8", f"{place} contains a secret")
        for place, text in places
        if any(found in secrets for found in _HEX.findall(text))
    ]


def _text(record: TopicRecord) -> str:
    return f"{record.key} {record.headers} {(record.value or b'').decode(errors='replace')}"
