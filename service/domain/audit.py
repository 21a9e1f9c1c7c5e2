"""The audit: its entries, and what can be asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias, get_args
from uuid import UUID

Action: TypeAlias = Literal[
    "organization.create",
    "organization.edit",
    "project.create",
    "project.edit",
    "project.remove",
    "projectkey.create",
    "projectkey.edit",
    "projectkey.remove",
    "event.discard",
    "token.create",
    "token.revoke",
]
"""What is recorded, by the names that entries have."""

ACTIONS: Final[tuple[str, ...]] = get_args(Action)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One change: who, when, from where, what.

    ``organization_id`` None is the installation itself; ``token_id`` None is the command line. ``target`` is a
    public key, a slug or a token's name; ``data`` tells what changed. ``change_id`` is the id of the change's event,
    where it has one.
    """

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
    """Which entries are asked for; None leaves a member out of account. ``since`` is the earliest moment."""

    project_id: int | None = None
    token_id: int | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
