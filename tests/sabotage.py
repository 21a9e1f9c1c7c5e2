"""The service with three defects that the faults checker must detect: `python -m tests.sabotage serve`."""

import random
import sys
from collections.abc import Sequence
from typing import Any

from service.cli.main import main
from service.domain.events import EventFactory, OutboxRow
from service.domain.model import Project, ProjectKey
from service.kafka.records import Part
from service.postgres.key_writes import PreparedWrite
from service.publisher import shard_queue
from service.usecases.create_key import CreateKey

_rng = random.Random(1)  # noqa: S311 -- not a secret
_state_of = EventFactory.state_of
_commit = CreateKey._commit_batch


def _with_secret(self: EventFactory, key: ProjectKey, project: Project) -> dict[str, Any]:
    """Add the secret to the event's payload."""
    return {**_state_of(self, key, project), "secret": key.secret_key}


async def _published_first(self: CreateKey, batch: Sequence[PreparedWrite]) -> Sequence[PreparedWrite | Exception]:
    """Publish the events before the commit, which fails in one of five batches."""
    if _rng.random() < 0.2:
        self._context.on_committed([OutboxRow(10**12 + _rng.randrange(10**9), prepared.event) for prepared in batch])
        raise RuntimeError("configured to fail")
    return await _commit(self, batch)


if __name__ == "__main__":
    setattr(EventFactory, "state_of", _with_secret)  # noqa: B010 -- mypy rejects the assignment
    setattr(shard_queue, "parts_of", lambda _: (Part.STATE,))  # noqa: B010 -- no tombstones
    setattr(CreateKey, "_commit_batch", _published_first)  # noqa: B010 -- as above
    sys.exit(main())
