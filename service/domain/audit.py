"""The audit log: new records, stored entries and filters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, get_args
from uuid import UUID, uuid4

from service.domain.events import time_to_json
from service.domain.model import Origin

Action: TypeAlias = Literal[
    "organization.create",
    "organization.edit",
    "project.create",
    "project.edit",
    "project.remove",
    "projectkey.create",
    "projectkey.edit",
    "projectkey.expire",
    "projectkey.remove",
    "projectkey.rotate",
    "event.discard",
    "token.create",
    "token.revoke",
    "session.create",
    "session.end",
]
"""The names of the audited actions, as the API shows them."""

ACTIONS: Final[tuple[str, ...]] = get_args(Action)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A new audit entry, which is inserted in the transaction of the change. It never contains a secret.

    Attributes:
        action: What was done.
        target: A public key, a slug or the name of a token.
        data: The changed values, or a description of the target.
        origin: Who made the change, by which request.
        organization_id: The organization that the change concerns; None is the installation itself.
        project_id: The project that the change concerns; None if it concerns the organization.
        change_id: The id of the event of the change, if it has one; otherwise a random id.
    """

    action: Action
    target: str
    data: Mapping[str, Any]
    origin: Origin
    organization_id: int | None
    project_id: int | None = None
    change_id: UUID = field(default_factory=uuid4)


def changed_values(**values: tuple[object, object]) -> dict[str, Any]:
    """Return the values that differ as ``{name: {"from": …, "to": …}}``; ``values`` are pairs of before and after."""
    return {name: {"from": before, "to": after} for name, (before, after) in values.items() if before != after}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """A stored audit entry; members as in `AuditRecord`. ``token_id`` None is the command line."""

    id: int
    organization_id: int | None
    organization_slug: str | None
    project_id: int | None
    token_id: int | None
    token_name: str | None
    action: str
    target: str
    request_id: str
    remote_address: str | None
    data: Mapping[str, Any]
    change_id: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSearch:
    """Filters of audit entries; a filter that is None matches every entry. ``since`` is the earliest time."""

    project_id: int | None = None
    token_id: int | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None


def audit_entry_to_json(entry: AuditEntry) -> dict[str, Any]:
    """Return ``entry`` as the API and `audit list --json` show it."""
    return {
        "id": str(entry.id),
        "event": entry.action,
        "actor": _actor(entry),
        "dateCreated": time_to_json(entry.created_at),
        "ipAddress": entry.remote_address,
        "target": entry.target,
        "projectId": entry.project_id,
        "data": entry.data,
        "requestId": entry.request_id,
        "changeId": str(entry.change_id),
    }


def _actor(entry: AuditEntry) -> dict[str, str | None]:
    if entry.token_id is None:
        return {"id": None, "name": "command line"}
    return {"id": str(entry.token_id), "name": entry.token_name}
