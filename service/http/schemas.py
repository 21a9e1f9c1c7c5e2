"""The schemas of request bodies, which convert decoded JSON to commands of the domain."""

from typing import Any, Final, Generic, TypeVar

from marshmallow import EXCLUDE, Schema, ValidationError, missing
from typing_extensions import override

from service.domain.model import (
    BROWSER_SDK_VERSIONS,
    LOADER_OPTIONS,
    MAX_OVERLAP,
    MAX_RATE_LIMIT_COUNT,
    MAX_RATE_LIMIT_WINDOW,
    ORGANIZATION_SLUG,
    PROJECT_SLUG,
    LoaderOptions,
    NewOrganization,
    NewProject,
    NewProjectKey,
    OrganizationChange,
    ProjectChange,
    ProjectKeyChange,
    RateLimit,
    Rotation,
    Unset,
    slug_of,
)
from service.http.errors import HttpError
from service.http.fields import (
    BaseUrl,
    Choice,
    Hex32,
    JsonField,
    LenientBoolean,
    OptionalInteger,
    RequiredText,
    Slug,
    Text,
    type_name,
)
from service.http.time_fields import ExpiryTime, Seconds

Command = TypeVar("Command")

_MAX_NAME_LENGTH: Final = 64
_USE_CASES: Final = frozenset({"user", "profiling", "tempest", "demo"})


class Body(Schema, Generic[Command]):
    """A JSON object that describes a ``Command``; unknown members are ignored."""

    class Meta:
        """Marshmallow's options."""

        unknown = EXCLUDE

    command_type: type[Command]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.members = [
            (field.data_key or attribute, attribute, field)
            for attribute, field in self.load_fields.items()
            if isinstance(field, JsonField)
        ]

    def command(self, members: dict[str, Any]) -> Command:
        """Return the command; ``members`` are the converted values by attribute.

        Raises:
            ValidationError: The members contradict each other.
        """
        return self.command_type(**members)


def load(body: Body[Command], value: Any) -> Command:
    """Return the command that a decoded request body describes.

    Only the members that are present are converted: marshmallow visits all fields and takes five times as long. It
    decides what null and the absence of a member mean.

    Raises:
        HttpError: 400 with the errors of all fields.
    """
    if value is None:
        raise HttpError(400, {"non_field_errors": ["No data provided"]})
    if not isinstance(value, dict):
        raise HttpError(400, {"non_field_errors": [_not_an_object(value)]})
    members: dict[str, Any] = {}
    errors: dict[str, Any] = {}
    for name, attribute, field in body.members:
        if name in value or field.required:
            member = value.get(name, missing)
            convert = field.deserialize if member is None or member is missing else field.convert
            try:
                members[attribute] = convert(member)
            except ValidationError as error:
                errors[name] = error.messages
    if not errors:
        try:
            return body.command(members)
        except ValidationError as error:
            errors = error.messages_dict
    raise HttpError(400, errors)


def _not_an_object(value: object) -> str:
    return f"Invalid data. Expected a dictionary, but got {type_name(value)}."


class RateLimitMembers(Schema):
    """The members of a rate limit."""

    window = OptionalInteger(maximum=MAX_RATE_LIMIT_WINDOW, required=True)
    count = OptionalInteger(maximum=MAX_RATE_LIMIT_COUNT, required=True)


class RateLimitField(JsonField[RateLimit | Unset | None]):
    """``{"window": seconds, "count": events}``; 0, null or "" in a member means no limit, ``{}`` means unset.

    If null is accepted, it means no limit.
    """

    MEMBERS: Final = RateLimitMembers(unknown=EXCLUDE)

    @override
    def convert(self, value: Any) -> RateLimit | Unset | None:
        if not isinstance(value, dict):
            raise ValidationError({"non_field_errors": [_not_an_object(value)]})
        if not value.keys() & {"window", "count"}:
            return Unset.UNSET
        members = self.MEMBERS.load(value)
        return RateLimit(**members) if members["window"] and members["count"] else None


class LoaderOptionsField(JsonField[dict[str, bool]]):
    """Options of the browser loader; unknown options, null and text are ignored."""

    OPTION: Final = LenientBoolean()
    accepts_null = True

    @override
    def convert(self, value: Any) -> dict[str, bool]:
        if isinstance(value, str) or (isinstance(value, list) and not _contains_option_name(value)):
            return {}
        if not isinstance(value, dict):
            raise ValidationError(_not_an_object(value))
        options: dict[str, bool] = {}
        errors: dict[str, Any] = {}
        for name, attribute in LOADER_OPTIONS.items():
            if name in value:
                try:
                    options[attribute] = bool(self.OPTION.deserialize(value[name]))
                except ValidationError as error:
                    errors[name] = error.messages
        if errors:
            raise ValidationError(errors)
        return options


def _contains_option_name(items: list[Any]) -> bool:
    return any(isinstance(item, str) and item in LOADER_OPTIONS for item in items)


def _with_slug(members: dict[str, Any], pattern: str) -> dict[str, Any]:
    """Return ``members`` with a slug, by default one that is derived from the name.

    Raises:
        ValidationError: None can be derived.
    """
    slug = members.get("slug") or slug_of(members["name"], pattern)
    if slug is None:
        raise ValidationError({"slug": ['No slug can be derived from the name; set "slug".']})
    return {**members, "slug": slug}


class NewOrganizationBody(Body[NewOrganization]):
    """``POST /api/0/organizations/``."""

    command_type = NewOrganization
    name = RequiredText(max_length=_MAX_NAME_LENGTH)
    slug = Slug(pattern=ORGANIZATION_SLUG)
    ingest_url = BaseUrl(data_key="ingestUrl")

    def command(self, members: dict[str, Any]) -> NewOrganization:
        """Return the command, with a slug."""
        return self.command_type(**_with_slug(members, ORGANIZATION_SLUG))


class OrganizationChangeBody(Body[OrganizationChange]):
    """``PUT /api/0/organizations/{organization}/``: absent members stay unchanged."""

    command_type = OrganizationChange
    name = Text(max_length=_MAX_NAME_LENGTH)
    ingest_url = BaseUrl(data_key="ingestUrl")


class NewProjectBody(Body[NewProject]):
    """``POST /api/0/organizations/{organization}/projects/``, and of a team."""

    command_type = NewProject
    name = RequiredText(max_length=_MAX_NAME_LENGTH)
    slug = Slug(pattern=PROJECT_SLUG)
    default_key = LenientBoolean(data_key="defaultKey")
    platform = Text(max_length=_MAX_NAME_LENGTH)

    def command(self, members: dict[str, Any]) -> NewProject:
        """Return the command, with a slug."""
        return self.command_type(**_with_slug(members, PROJECT_SLUG))


class ProjectChangeBody(Body[ProjectChange]):
    """``PUT /api/0/projects/{organization}/{project}/``: absent members stay unchanged."""

    command_type = ProjectChange
    name = Text(max_length=_MAX_NAME_LENGTH)
    slug = Slug(pattern=PROJECT_SLUG)
    platform = Text(max_length=_MAX_NAME_LENGTH)


class NewProjectKeyBody(Body[NewProjectKey]):
    """``POST …/keys/``: every member is optional."""

    command_type = NewProjectKey
    name = Text(max_length=_MAX_NAME_LENGTH)
    public_key = Hex32(data_key="public")
    secret_key = Hex32(data_key="secret")
    rate_limit = RateLimitField(data_key="rateLimit")
    browser_sdk_version = Choice(choices=BROWSER_SDK_VERSIONS, data_key="browserSdkVersion")
    loader_options = LoaderOptionsField(data_key="dynamicSdkLoaderOptions")
    expires_at = ExpiryTime(data_key="expiresAt")
    use_case = Choice(choices=_USE_CASES, data_key="useCase")

    def command(self, members: dict[str, Any]) -> NewProjectKey:
        """Return the command without the use case, which has no effect: all keys of this API are user keys."""
        members.pop("use_case", None)
        if "loader_options" in members:
            members["loader_options"] = LoaderOptions(**(members["loader_options"] or {}))
        if members.get("rate_limit") is Unset.UNSET:
            del members["rate_limit"]
        return self.command_type(**members)


class NamedKeyBody(NewProjectKeyBody):
    """``PUT …/keys/by-name/{key_name}/``: as for a new key, without a name."""

    class Meta(Body.Meta):
        """Marshmallow's options."""

        exclude = ("name",)


def key_name(text: str) -> str:
    """Return the name of a key in a path, trimmed.

    Raises:
        HttpError: 400 if it is not a valid name.
    """
    try:
        return str(RequiredText(max_length=_MAX_NAME_LENGTH).deserialize(text))
    except ValidationError as error:
        raise HttpError(400, {"name": error.messages}) from None


class ProjectKeyChangeBody(Body[ProjectKeyChange]):
    """``PUT …/keys/{key_id}/``: absent members stay unchanged."""

    command_type = ProjectKeyChange
    name = Text(max_length=_MAX_NAME_LENGTH)
    is_active = LenientBoolean(data_key="isActive")
    rate_limit = RateLimitField(data_key="rateLimit", allow_none=True)
    browser_sdk_version = Choice(choices=BROWSER_SDK_VERSIONS, data_key="browserSdkVersion")
    loader_options = LoaderOptionsField(data_key="dynamicSdkLoaderOptions")
    expires_at = ExpiryTime(data_key="expiresAt")

    def command(self, members: dict[str, Any]) -> ProjectKeyChange:
        """Return the command."""
        members["loader_options"] = members.get("loader_options") or {}
        return self.command_type(**members)


class RotationBody(Body[Rotation]):
    """``POST …/keys/{key_id}/rotate/``: every member is optional."""

    command_type = Rotation
    overlap = Seconds(maximum=MAX_OVERLAP)
    name = Text(max_length=_MAX_NAME_LENGTH)
    expires_at = ExpiryTime(data_key="expiresAt")
