"""The bodies of requests: JSON in, commands of the domain out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load

from service.domain.model import (
    BROWSER_SDK_VERSIONS,
    ORGANIZATION_SLUG,
    PROJECT_SLUG,
    LoaderOptions,
    NewProjectKey,
    OrganizationChange,
    ProjectChange,
    ProjectKeyChange,
    RateLimit,
    Unset,
)
from service.http.errors import HttpError
from service.http.fields import BaseUrl, Choice, EmptyOrInteger, Hex32, Name, Slug, Switch, Text, kind_of

_GREATEST_COUNT: Final = 2**31 - 1
_GREATEST_WINDOW: Final = 86_400
_LONGEST_NAME: Final = 64
_USE_CASES: Final = frozenset({"user", "profiling", "tempest", "demo"})
WIRE_OPTIONS: Final = {
    "hasReplay": "has_replay",
    "hasPerformance": "has_performance",
    "hasDebug": "has_debug",
    "hasFeedback": "has_feedback",
    "hasLogsAndMetrics": "has_logs_and_metrics",
}


class Body(Schema):
    """What all bodies have in common: members that nobody knows are ignored."""

    class Meta:
        """Marshmallow's options."""

        unknown = EXCLUDE


def load(schema: Schema, value: Any) -> Any:
    """What ``schema`` makes of a body.

    Raises:
        Refusal: 400, naming every field that is wrong.
    """
    if value is None:
        raise HttpError(400, {"non_field_errors": ["No data provided"]})
    if not isinstance(value, dict):
        raise HttpError(400, {"non_field_errors": [_not_an_object(value)]})
    try:
        return schema.load(value)
    except ValidationError as error:
        raise HttpError(400, error.messages) from None


def _not_an_object(value: object) -> str:
    return f"Invalid data. Expected a dictionary, but got {kind_of(value)}."


class RateLimitMembers(Body):
    """Both members of a limit."""

    window = EmptyOrInteger(greatest=_GREATEST_WINDOW, required=True)
    count = EmptyOrInteger(greatest=_GREATEST_COUNT, required=True)


class RateLimitField(fields.Field[RateLimit | Unset | None]):
    """``{"window": seconds, "count": events}``; zero, null or "" for either is no limit, ``{}`` is unsaid.

    Args:
        clears: whether null, in place of both, is no limit.
        **options: as for every field.
    """

    default_error_messages = {"null": "This field may not be null."}
    MEMBERS: Final = RateLimitMembers()

    def __init__(self, *, clears: bool = False, **options: Any) -> None:
        super().__init__(allow_none=clears, **options)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> RateLimit | Unset | None:
        del attr, data, kwargs
        if not isinstance(value, dict):
            raise ValidationError({"non_field_errors": [_not_an_object(value)]})
        if not value.keys() & {"window", "count"}:
            return Unset.UNSET
        members = self.MEMBERS.load(value)
        return RateLimit(**members) if members["window"] and members["count"] else None


class LoaderOptionsField(fields.Field[dict[str, bool]]):
    """Some of the loader's switches; unknown ones, null and texts say nothing."""

    SWITCH: Final = Switch()

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_none=True, **options)

    def _deserialize(
        self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **kwargs: Any
    ) -> dict[str, bool]:
        del attr, data, kwargs
        if isinstance(value, str) or (isinstance(value, list) and not _names_an_option(value)):
            return {}
        if not isinstance(value, dict):
            raise ValidationError(_not_an_object(value))
        said: dict[str, bool] = {}
        mistakes: dict[str, Any] = {}
        for wire_name, name in WIRE_OPTIONS.items():
            if wire_name in value:
                try:
                    said[name] = bool(self.SWITCH.deserialize(value[wire_name]))
                except ValidationError as error:
                    mistakes[wire_name] = error.messages
        if mistakes:
            raise ValidationError(mistakes)
        return said


def _names_an_option(values: list[Any]) -> bool:
    return any(isinstance(one, str) and one in WIRE_OPTIONS for one in values)


@dataclass(frozen=True, slots=True)
class NewOrganization:
    """What a caller asks of a new organization; without a slug its name makes one."""

    name: str
    slug: str | None = None
    ingest_url: str | None = None


class NewOrganizationBody(Body):
    """``POST /api/0/organizations/``."""

    name = Name(longest=_LONGEST_NAME)
    slug = Slug(pattern=ORGANIZATION_SLUG)
    ingest_url = BaseUrl(data_key="ingestUrl")

    @post_load
    def command(self, data: dict[str, Any], **_: Any) -> NewOrganization:
        """As the handler reads it."""
        return NewOrganization(**data)


class OrganizationChangeBody(Body):
    """``PUT /api/0/organizations/{organization}/``: what is not named stays as it is."""

    name = Text(longest=_LONGEST_NAME)
    ingest_url = BaseUrl(data_key="ingestUrl")

    @post_load
    def command(self, data: dict[str, Any], **_: Any) -> OrganizationChange:
        """As the handler reads it."""
        return OrganizationChange(**data)


@dataclass(frozen=True, slots=True)
class NewProject:
    """What a caller asks of a new project; without a slug its name makes one."""

    name: str
    slug: str | None = None
    default_key: bool = True


class NewProjectBody(Body):
    """``POST /api/0/organizations/{organization}/projects/``."""

    name = Name(longest=_LONGEST_NAME)
    slug = Slug(pattern=PROJECT_SLUG)
    default_key = Switch(data_key="defaultKey")

    @post_load
    def command(self, data: dict[str, Any], **_: Any) -> NewProject:
        """As the handler reads it."""
        return NewProject(**data)


class ProjectChangeBody(Body):
    """``PUT /api/0/projects/{organization}/{project}/``: what is not named stays as it is."""

    name = Text(longest=_LONGEST_NAME)
    slug = Slug(pattern=PROJECT_SLUG)

    @post_load
    def command(self, data: dict[str, Any], **_: Any) -> ProjectChange:
        """As the handler reads it."""
        return ProjectChange(**data)


class NewProjectKeyBody(Body):
    """``POST …/keys/``: every member may be absent."""

    name = Text(longest=_LONGEST_NAME)
    public_key = Hex32(data_key="public")
    secret_key = Hex32(data_key="secret")
    rate_limit = RateLimitField(data_key="rateLimit")
    browser_sdk_version = Choice(choices=BROWSER_SDK_VERSIONS, data_key="browserSdkVersion")
    loader_options = LoaderOptionsField(data_key="dynamicSdkLoaderOptions")
    use_case = Choice(choices=_USE_CASES, data_key="useCase")

    @post_load
    def command(self, data: dict[str, Any], **_: Any) -> NewProjectKey:
        """The use case is checked and not honoured: keys of this API are users' keys."""
        data.pop("use_case", None)
        data["loader_options"] = LoaderOptions(**(data.get("loader_options") or {}))
        if data.get("rate_limit") is Unset.UNSET:
            del data["rate_limit"]
        return NewProjectKey(**data)


class ProjectKeyChangeBody(Body):
    """``PUT …/keys/{key_id}/``: what is not named stays as it is."""

    name = Text(longest=_LONGEST_NAME)
    is_active = Switch(data_key="isActive")
    rate_limit = RateLimitField(data_key="rateLimit", clears=True)
    browser_sdk_version = Choice(choices=BROWSER_SDK_VERSIONS, data_key="browserSdkVersion")
    loader_options = LoaderOptionsField(data_key="dynamicSdkLoaderOptions")

    @post_load
    def command(self, data: dict[str, Any], **_: Any) -> ProjectKeyChange:
        """As the handler reads it."""
        data["loader_options"] = data.get("loader_options") or {}
        return ProjectKeyChange(**data)
