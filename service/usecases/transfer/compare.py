"""Compares the records of a file with the database: which are new, which contradict it, and which differ."""

from collections.abc import Callable, Iterator, Sequence

from service.domain.events import time_to_json
from service.domain.model import Organization, ProjectKey
from service.postgres.database import Connection
from service.postgres.deleted_keys import lock_deleted_by_public_keys
from service.postgres.transfers import KnownProject, select_keys, select_organizations, select_projects
from service.usecases.bulk_changes import BATCH_SIZE, ShowProgress
from service.usecases.transfer.stage import Document, Kind, Record, Stage


class ConflictError(ValueError):
    """A record of the file contradicts the database."""


class Comparison:
    """Compares the records of ``stage`` with the database and adds the findings to it.

    ``organization_ids_bind`` means that DSNs contain the id of the organization.
    """

    def __init__(self, connection: Connection, stage: Stage, *, organization_ids_bind: bool) -> None:
        self._connection = connection
        self._stage = stage
        self._organization_ids_bind = organization_ids_bind

    async def run(self, progress: ShowProgress) -> None:
        """Compare all records.

        Raises:
            UnavailableError: The database is unavailable.
        """
        done, total = 0, sum(self._stage.count(kind) for kind in Kind)
        compare_batch = {
            Kind.ORGANIZATION: self._compare_organizations,
            Kind.PROJECT: self._compare_projects,
            Kind.KEY: self._compare_keys,
        }
        for kind, compare in compare_batch.items():
            for records in self._stage.batches(kind, BATCH_SIZE):
                self._stage.mark_new(kind, await compare(records))
                done += len(records)
                progress(done, total)

    async def _compare_organizations(self, records: Sequence[Record]) -> list[Record]:
        ids = [record.document["id"] for record in records if "id" in record.document]
        slugs = [record.document["slug"] for record in records]
        known = await select_organizations(self._connection, ids, slugs)
        by_slug = {organization.slug: organization for organization in known}
        by_id = {organization.id: organization for organization in known}

        def find(document: Document) -> Document | None:
            here = by_slug.get(document["slug"])
            if self._organization_ids_bind and "id" in document:
                _check_organization_id(document, here, by_id.get(document["id"]))
            return None if here is None else {"name": here.name, "ingest_url": here.ingest_url}

        return [*self._new(records, find, "organization {slug}")]

    async def _compare_projects(self, records: Sequence[Record]) -> list[Record]:
        ids = [record.document["id"] for record in records]
        paths = [(record.document.get("organization_slug", ""), record.document["slug"]) for record in records]
        found = await select_projects(self._connection, ids, paths)
        by_id = {known.project.id: known for known in found}
        by_path = {_path(known): known for known in found if not known.is_deleted}

        def find(document: Document) -> Document | None:
            here = by_id.get(document["id"])
            if "organization_slug" not in document:
                raise ConflictError("the file does not contain its organization")
            path = document["organization_slug"], document["slug"]
            if here is not None:
                _check_project(path, here)
            elif path in by_path:
                raise ConflictError(f"its slug is that of the project with the id {by_path[path].project.id}")
            return None if here is None else {"slug": here.project.slug, "name": here.project.name}

        return [*self._new(records, find, "project {slug} (id {id})")]

    async def _compare_keys(self, records: Sequence[Record]) -> list[Record]:
        public_keys = [record.document["public_key"] for record in records]
        secret_keys = [record.document["secret_key"] for record in records if "secret_key" in record.document]
        found = await select_keys(self._connection, public_keys, secret_keys)
        deleted = await lock_deleted_by_public_keys(self._connection, public_keys)
        deleted_keys = {key.public_key for key in deleted}
        by_public_key = {key.public_key: (key, project) for key, project in found}
        taken_secrets = {key.secret_key for key, _ in found}

        def find(document: Document) -> Document | None:
            if "has_project" not in document:
                raise ConflictError("the file does not contain its project")
            if document["public_key"] in deleted_keys:
                raise ConflictError("it was deleted; an import never restores a deleted key")
            if document["public_key"] in by_public_key:
                key, project = by_public_key[document["public_key"]]
                if project.id != document["project_id"]:
                    path = f"{project.organization.slug}/{project.slug}"
                    raise ConflictError(f"it belongs to {path} (id {project.id})")
                return _settings_of(key)
            if document.get("secret_key") in taken_secrets:
                raise ConflictError("its secret key is that of another key")
            return None

        return [*self._new(records, find, "key {public_key}")]

    def _new(
        self, records: Sequence[Record], find: Callable[[Document], Document | None], title: str
    ) -> Iterator[Record]:
        """Return the records for which ``find`` returns None, and add the findings about the others."""
        for record in records:
            name = title.format(**record.document)
            document = record.document
            try:
                here = find(document)
            except ConflictError as conflict:
                self._stage.add_conflict(record.line, f"{name}: {conflict}")
                continue
            if here is None:
                yield record
                continue
            for member, stored in here.items():
                if member in document and document[member] != stored:
                    self._stage.add_difference(
                        record.line, f"{name}: {_difference(member, stored, document[member])}"
                    )


def _check_organization_id(document: Document, here: Organization | None, owner: Organization | None) -> None:
    if here is not None and here.id != document["id"]:
        raise ConflictError(f"its id, which DSNs contain, is {here.id} and not {document['id']}")
    if here is None and owner is not None:
        raise ConflictError(f"its id {owner.id}, which DSNs contain, is that of {owner.slug}")


def _path(known: KnownProject) -> tuple[str, str]:
    return known.project.organization.slug, known.project.slug


def _check_project(path: tuple[str, str], here: KnownProject) -> None:
    """Raise `ConflictError` unless the project has, or once had, the path of the file."""
    if here.is_deleted:
        raise ConflictError("the project with this id is being deleted")
    organization, slug = _path(here)
    if path[0] != organization or path[1] not in {slug, *here.former_slugs}:
        raise ConflictError(f"its id is that of {organization}/{slug}")


def _settings_of(key: ProjectKey) -> Document:
    """Return the values of a key that a file can contain, as its documents do."""
    limit = key.rate_limit
    return {
        "secret_key": key.secret_key,
        "label": key.label,
        "is_active": key.is_active,
        "rate_limit": limit and [limit.window, limit.count],
        "browser_sdk_version": key.browser_sdk_version,
        "loader_options": [*key.loader_options],
        "expires_at": key.expires_at and time_to_json(key.expires_at),
    }


def _difference(member: str, stored: object, in_file: object) -> str:
    return f"{member} differs" if member == "secret_key" else f"{member} is {stored!r}, in the file {in_file!r}"
