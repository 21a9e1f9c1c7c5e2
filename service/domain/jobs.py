"""The progress of batch jobs."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class JobState:
    """The progress of a job.

    ``organization`` and ``project`` are slugs, None if the job has none or they are deleted. ``total`` is the number
    of keys at the start, None if they were not counted. ``failures`` is the number of consecutive failed batches,
    ``last_error`` the class of the last error. ``waits`` is the number of seconds until the next batch.
    """

    id: int
    kind: str
    organization: str | None
    project: str | None
    rate: int | None
    done: int
    total: int | None
    failures: int
    last_error: str | None
    waits: float
    created_at: datetime
    finished_at: datetime | None
    cancelled: bool
