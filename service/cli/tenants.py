"""`org create` and `project create`."""

import argparse
import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from service import settings
from service.app import build
from service.cli.commands import Commands, add_command, command_line_origin, name_for_people, say, started
from service.domain.model import ORGANIZATION_SLUG, PROJECT_SLUG
from service.usecases.provisioning import Provisioning


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


@asynccontextmanager
async def _provisioning() -> AsyncIterator[Provisioning]:
    """The use case on the database alone: the events wait in the outbox for a publisher."""
    service = build(settings.read())
    async with started(service.database):
        yield service.api.provisioning


async def _create_organization(options: argparse.Namespace) -> int:
    async with _provisioning() as provisioning:
        organization = await provisioning.create_organization(
            slug=options.slug, name=options.name or options.slug, origin=command_line_origin()
        )
    say(f"The organization {organization.slug} has the id {organization.id}.")
    return 0


async def _create_project(options: argparse.Namespace) -> int:
    async with _provisioning() as provisioning:
        project = await provisioning.create_project(
            await provisioning.organization(options.org),
            slug=options.slug,
            name=options.name or options.slug,
            default_key=not options.no_key,
            origin=command_line_origin(),
        )
    say(f"The project {project.slug} has the id {project.id}.")
    return 0
