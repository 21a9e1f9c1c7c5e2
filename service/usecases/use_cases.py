"""The use cases that `serve` needs."""

from dataclasses import dataclass

from service.usecases.acknowledgements import Acknowledgements
from service.usecases.audit import Audit
from service.usecases.change_keys import ChangeKeys
from service.usecases.create_key import CreateKey
from service.usecases.event_feed import EventFeed
from service.usecases.organizations import Organizations
from service.usecases.projects import Projects
from service.usecases.publishing_status import PublishingStatus
from service.usecases.read_keys import ReadKeys
from service.usecases.rotate_key import RotateKey
from service.usecases.sessions import Sessions
from service.usecases.tokens import Tokens
from service.usecases.usage import Usage


@dataclass(frozen=True, slots=True)
class UseCases:
    """The use cases that the HTTP handlers call; ``usage`` is None if usage is not collected."""

    tokens: Tokens
    sessions: Sessions
    organizations: Organizations
    projects: Projects
    create_key: CreateKey
    change_keys: ChangeKeys
    rotate_key: RotateKey
    read_keys: ReadKeys
    acknowledgements: Acknowledgements
    audit: Audit
    usage: Usage | None
    publishing_status: PublishingStatus
    event_feed: EventFeed
