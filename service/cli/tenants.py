"""`org create` and `org list`, `project create` and `project list`."""

import argparse
from typing import Any, Final

from service.app import ingest_from
from service.cli.commands import (
    Commands,
    add_command,
    add_group,
    add_json_option,
    base_url,
    command_line_origin,
    display_name,
    matching,
    print_result,
    printable,
)
from service.command_app import build_organizations, connect_database, write_context
from service.domain.dsn import endpoints
from service.domain.model import ORGANIZATION_SLUG, PROJECT_SLUG, NewOrganization, NewProject, Organization, Project
from service.domain.pagination import Page
from service.environment import read
from service.settings import KeySettings
from service.usecases.projects import Projects
from service.usecases.read_keys import ReadKeys
from service.usecases.tenants import list_organizations, list_projects

_SLUG: Final = "at most 50 {}, and not only digits"


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    _add_organizations(commands)
    _add_projects(commands)


def _add_organizations(commands: Commands) -> None:
    group = add_group(commands, "org", summary="create and list organizations", example="projectkeys org create acme")
    create = add_command(
        group,
        "create",
        summary="create an organization",
        example="projectkeys org create acme --name 'Acme, Inc.'",
        run=_create_organization,
    )
    create.add_argument(
        "slug",
        metavar="SLUG",
        type=matching(ORGANIZATION_SLUG, _SLUG.format("letters, digits and hyphens")),
        help="slug, the name in URLs",
    )
    create.add_argument("--name", type=display_name, help="display name (default: the slug)")
    create.add_argument(
        "--ingest-url",
        type=base_url,
        metavar="URL",
        help="base URL of the organization's DSNs (default: INGEST_URL)",
    )
    add_json_option(create)
    listing = add_command(
        group,
        "list",
        summary="list organizations",
        example="projectkeys org list --json",
        run=_list_organizations,
    )
    add_json_option(listing)


def _add_projects(commands: Commands) -> None:
    example = "projectkeys project create acme web"
    group = add_group(commands, "project", summary="create and list projects", example=example)
    create = add_command(
        group,
        "create",
        summary="create a project with a key named Default, and print its DSN",
        example=example,
        run=_create_project,
    )
    create.add_argument("org", metavar="ORG", help="slug or id of the organization")
    create.add_argument(
        "slug",
        metavar="SLUG",
        type=matching(PROJECT_SLUG, _SLUG.format("lower-case letters, digits, hyphens and underscores")),
        help="slug, the name in URLs",
    )
    create.add_argument("--name", type=display_name, help="display name (default: the slug)")
    create.add_argument("--no-key", action="store_true", help="create the project without a key")
    add_json_option(create)
    listing = add_command(
        group,
        "list",
        summary="list the projects of an organization, or of all",
        example="projectkeys project list acme",
        run=_list_projects,
    )
    listing.add_argument("org", nargs="?", metavar="ORG", help="slug or id of the organization (default: all)")
    add_json_option(listing)


async def _create_organization(options: argparse.Namespace) -> None:
    async with connect_database() as database:
        new = NewOrganization(options.name or options.slug, options.slug, options.ingest_url)
        organization, _ = await build_organizations(database).create(new, command_line_origin())
    text = f"Created the organization {organization.slug} with the id {organization.id}."
    print_result(options, _organization_to_json(organization), text)


async def _list_organizations(options: argparse.Namespace) -> None:
    async with connect_database() as database:
        async for found in list_organizations(database):
            text = f"{found.id}  {found.slug}  {printable(found.name)}"
            print_result(options, _organization_to_json(found), text)


def _organization_to_json(found: Organization) -> dict[str, Any]:
    return {"id": str(found.id), "slug": found.slug, "name": found.name, "ingestUrl": found.ingest_url}


async def _create_project(options: argparse.Namespace) -> None:
    settings = read(KeySettings)
    async with connect_database(settings) as database:
        organization = await build_organizations(database).get(options.org)
        new = NewProject(options.name or options.slug, options.slug, default_key=not options.no_key)
        projects = Projects(write_context(database, settings))
        project, _ = await projects.create(organization, new, command_line_origin())
        rows = await ReadKeys(database).page(project, Page(size=1))
    dsns = [endpoints(ingest_from(settings), project).dsn % key.public_key for key in rows.keys]
    value = {**_project_to_json(project), "dsn": dsns[0] if dsns else None}
    print_result(options, value, f"Created the project {project.slug} with the id {project.id}.", *dsns)


async def _list_projects(options: argparse.Namespace) -> None:
    async with connect_database() as database:
        async for found in list_projects(database, options.org):
            text = f"{found.id}  {found.organization.slug}/{found.slug}  {printable(found.name)}"
            print_result(options, _project_to_json(found), text)


def _project_to_json(found: Project) -> dict[str, Any]:
    organization = found.organization.slug
    return {"id": str(found.id), "slug": found.slug, "name": found.name, "organization": organization}
