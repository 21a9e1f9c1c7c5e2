"""`org create` and `project create`."""

import argparse
import re
from collections.abc import Callable

from service.cli.commands import (
    Commands,
    add_command,
    add_group,
    base_url,
    command_line_origin,
    display_name,
    print_lines,
)
from service.command_app import build_organizations, build_projects, connect_database
from service.domain.model import ORGANIZATION_SLUG, PROJECT_SLUG
from service.environment import read
from service.settings import KeySettings


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    _add_organizations(commands)
    _add_projects(commands)


def _add_organizations(commands: Commands) -> None:
    group = add_group(commands, "org", summary="create organizations", example="projectkeys org create acme")
    create = add_command(
        group,
        "create",
        summary="create an organization",
        example="projectkeys org create acme --name 'Acme, Inc.'",
        run=_create_organization,
    )
    create.add_argument(
        "slug", type=_slug(ORGANIZATION_SLUG, "letters, digits and hyphens"), help="slug, the name in URLs"
    )
    create.add_argument("--name", type=display_name, help="display name (default: the slug)")
    create.add_argument(
        "--ingest-url",
        type=base_url,
        metavar="URL",
        help="base URL of the organization's DSNs (default: INGEST_URL)",
    )


def _add_projects(commands: Commands) -> None:
    group = add_group(
        commands, "project", summary="create projects", example="projectkeys project create acme web"
    )
    create = add_command(
        group,
        "create",
        summary="create a project with a key named Default",
        example="projectkeys project create acme web",
        run=_create_project,
    )
    create.add_argument("org", help="slug or id of the organization")
    create.add_argument(
        "slug",
        type=_slug(PROJECT_SLUG, "lower-case letters, digits, hyphens and underscores"),
        help="slug, the name in URLs",
    )
    create.add_argument("--name", type=display_name, help="display name (default: the slug)")
    create.add_argument("--no-key", action="store_true", help="create the project without a key")


def _slug(pattern: str, characters: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise argparse.ArgumentTypeError(f"must be at most 50 {characters}, and not only digits")
        return text

    return parse


async def _create_organization(options: argparse.Namespace) -> int:
    async with connect_database() as database:
        organization, _ = await build_organizations(database).create(
            slug=options.slug,
            name=options.name or options.slug,
            ingest_url=options.ingest_url,
            origin=command_line_origin(),
        )
    print_lines(f"Created the organization {organization.slug} with the id {organization.id}.")
    return 0


async def _create_project(options: argparse.Namespace) -> int:
    settings = read(KeySettings)
    async with connect_database(settings) as database:
        project, _ = await build_projects(database, settings).create(
            await build_organizations(database).get(options.org),
            slug=options.slug,
            name=options.name or options.slug,
            default_key=not options.no_key,
            origin=command_line_origin(),
        )
    print_lines(f"Created the project {project.slug} with the id {project.id}.")
    return 0
