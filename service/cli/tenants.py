"""`org create` and `project create`."""

import argparse
import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from service import settings
from service.app import build
from service.cli.commands import Commands, add_command, command_line_origin, name_for_people, say, started
from service.domain.dsn import is_base_url
from service.domain.model import ORGANIZATION_SLUG, PROJECT_SLUG
from service.http.state import Api


def add_to(commands: Commands) -> None:
    """Declare both."""
    organizations = add_command(
        commands, "org", summary="make organizations", example="projectkeys org create acme"
    ).add_subparsers(metavar="COMMAND", required=True)
    create = add_command(
        organizations,
        "create",
        summary="make an organization",
        example="projectkeys org create acme --name 'Acme, Inc.'",
        run=lambda options: asyncio.run(_create_organization(options)),
    )
    create.add_argument(
        "slug",
        type=_slug(ORGANIZATION_SLUG, "letters, digits and hyphens"),
        help="its name in paths",
    )
    create.add_argument("--name", type=name_for_people, help="its name for people; the slug if not given")
    create.add_argument(
        "--ingest-url", type=_base_url, metavar="URL", help="base of its DSNs; INGEST_URL if not given"
    )
    projects = add_command(
        commands, "project", summary="make projects", example="projectkeys project create acme web"
    ).add_subparsers(metavar="COMMAND", required=True)
    create = add_command(
        projects,
        "create",
        summary="make a project, with its first key",
        example="projectkeys project create acme web",
        run=lambda options: asyncio.run(_create_project(options)),
    )
    create.add_argument("org", help="the organization's slug or id")
    create.add_argument(
        "slug",
        type=_slug(PROJECT_SLUG, "small letters, digits, hyphens and underscores"),
        help="its name in paths",
    )
    create.add_argument("--name", type=name_for_people, help="its name for people; the slug if not given")
    create.add_argument("--no-key", action="store_true", help="without a first key")


def _slug(pattern: str, characters: str) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"at most 50 {characters}, please, and not digits alone")
        return text

    return check


def _base_url(text: str) -> str:
    if not is_base_url(text):
        raise argparse.ArgumentTypeError("an http or https URL without a slash at its end, please")
    return text


@asynccontextmanager
async def _api() -> AsyncIterator[Api]:
    """The use cases on the database alone: the events wait in the outbox for a publisher."""
    service = build(settings.read())
    async with started(service.database):
        yield service.api


async def _create_organization(options: argparse.Namespace) -> int:
    async with _api() as api:
        organization, _ = await api.organizations.create(
            slug=options.slug,
            name=options.name or options.slug,
            ingest_url=options.ingest_url,
            origin=command_line_origin(),
        )
    say(f"The organization {organization.slug} has the id {organization.id}.")
    return 0


async def _create_project(options: argparse.Namespace) -> int:
    async with _api() as api:
        project, _ = await api.projects.create(
            await api.organizations.get(options.org),
            slug=options.slug,
            name=options.name or options.slug,
            default_key=not options.no_key,
            origin=command_line_origin(),
        )
    say(f"The project {project.slug} has the id {project.id}.")
    return 0
