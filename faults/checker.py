"""Judges a run: what callers were told against what Postgres and Kafka hold. Pure, and knows nothing of the service.

The invariants:

- I1 no lost key: what was acknowledged stands, or something later does.
- I2 no lost event: every committed change is in the log.
- I3 no phantom: every event tells of a committed change that somebody asked for, once, with its content.
- I4 order: a key's versions first appear as 1, 2, 3 …, the deletion last; its last record is its newest version.
- I5 duplicates: copies are equal, and no more than a fault explains.
- I6 idempotency: an idempotency key makes one key at most, and a replay names the same.
- I7 tenants: everything belongs to the project it was asked of.
- I8 hygiene: no secret in an event, in the audit, in a log.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from faults import log_rules, state_rules
from faults.evidence import DiffStore, Logged
from faults.history import Call, Outcome
from faults.violation import Violation

_HEX: Final = re.compile(r"[0-9a-f]{32,}")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a run; ``unavailable`` are calls without an answer or with a 5xx."""

    acknowledged: int
    refused: int
    unavailable: int
    duplicates: int
    violations: Sequence[Violation] = field(default_factory=list)

    def count(self, *invariants: str) -> int:
        """How many violations there are of these."""
        return sum(one.invariant in invariants for one in self.violations)


def check(
    calls: Sequence[Call],
    ledger: DiffStore,
    log: Sequence[Logged],
    *,
    duplicates_allowed: int,
    texts: Iterable[str] = (),
    tokens: Iterable[str] = (),
) -> Verdict:
    """Judge a run after everything has been healed and drained.

    Args:
        calls: All that was asked of the service.
        ledger: Postgres after that.
        log: Kafka after that.
        duplicates_allowed: Copies that the run's faults explain: a batch for each fault, 0 without one.
        texts: The service's logs and whatever else must not hold a secret.
        tokens: The callers' own secrets.
    """
    outcomes = Counter(call.outcome for call in calls)
    events = [record for record in log if record.is_event]
    copies = len(events) - len({record.headers.get("ce_id") for record in events})
    violations = [
        *state_rules.lost_keys(calls, ledger),
        *state_rules.lost_events(calls, ledger, events),
        *state_rules.phantoms(calls, ledger, events),
        *state_rules.idempotency(calls, ledger, events),
        *state_rules.tenants(calls, ledger, events),
        *log_rules.order(events),
        *log_rules.real_time(calls, events),
        *log_rules.duplicates(events, allowed=duplicates_allowed),
        *_hygiene(calls, ledger, log, texts, tokens),
    ]
    return Verdict(
        outcomes[Outcome.OK], outcomes[Outcome.REFUSED], outcomes[Outcome.UNKNOWN], copies, violations
    )


def _hygiene(
    calls: Iterable[Call],
    ledger: DiffStore,
    log: Iterable[Logged],
    texts: Iterable[str],
    tokens: Iterable[str],
) -> list[Violation]:
    secrets = {call.secret for call in calls if call.secret} | {row.secret for row in ledger.keys.values()}
    # A token is hex digits behind a prefix.
    secrets |= {found for token in tokens for found in _HEX.findall(token)}
    places = [
        *((f"offset {one.offset} of partition {one.partition}", _text(one)) for one in log),
        *(("the audit or the outbox", text) for text in ledger.texts),
        *(("a log", text) for text in texts),
    ]
    return [
        Violation("I8", f"a secret stands in {place}")
        for place, text in places
        if any(found in secrets for found in _HEX.findall(text))
    ]


def _text(record: Logged) -> str:
    return f"{record.key} {record.headers} {(record.value or b'').decode(errors='replace')}"
