"""The relays that may connect: a JSON file, which is read again when it changes."""

import asyncio
import os
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import structlog

from service.edge.signatures import SignatureError, parse_public_key

_log = structlog.get_logger(__name__)

_CHECK_INTERVAL: Final = 1.0
"""Seconds between two checks of the file."""

_MAX_OPEN: Final = 1000
"""Relays that may register without being listed, in development."""


class RelaysFileError(Exception):
    """The file of relays cannot be used; the message gives the reason."""


class KnownRelays:
    """The public keys of relays by their ids.

    Args:
        file: The JSON file ``{"<relay id>": {"public_key": "…", "internal": true}}``; None: no relay is known.
        registers_any: Whether any relay may register, which adds it to the file; for development.

    Raises:
        RelaysFileError: The file cannot be read or has an error.
    """

    def __init__(self, file: Path | None, *, registers_any: bool = False) -> None:
        self._file = file
        self._registers_any = registers_any
        self._version: object = None
        self._keys: Mapping[str, str] = {}
        if file is not None and (file.exists() or not registers_any):
            self._load(file)

    @property
    def ids(self) -> frozenset[str]:
        """The ids of the relays."""
        return frozenset(self._keys)

    def public_key(self, relay_id: str) -> str | None:
        """Return the public key of a relay; None if the relay is not known."""
        return self._keys.get(relay_id)

    def register(self, relay_id: str, public_key: str) -> bool:
        """Return whether the relay may register with this key; the key of a known relay never changes."""
        known = self._keys.get(relay_id)
        if known is not None or not self._registers_any or len(self._keys) >= _MAX_OPEN:
            return known == public_key
        self._keys = {**self._keys, relay_id: public_key}
        if self._file is not None:
            _replace(self._file, self._keys)
        return True

    async def watch(self) -> None:
        """Read the file again when it changes, until cancelled; an invalid file is logged and not used."""
        while self._file is not None and not self._registers_any:
            await asyncio.sleep(_CHECK_INTERVAL)
            try:
                if _version_of(self._file) != self._version:
                    self._load(self._file)
                    _log.info("relays_read", relays=len(self._keys))
            except RelaysFileError as error:
                _log.error("relays_not_read", error=str(error))

    def _load(self, file: Path) -> None:
        # Before reading: the next check finds a change meanwhile. Also of an invalid file, which is logged once.
        self._version = _version_of(file)
        try:
            content = orjson.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise RelaysFileError(f"{file} cannot be read: {error}.") from None
        if not isinstance(content, dict):
            raise RelaysFileError(f"{file} must contain a JSON object.")
        self._keys = dict(_parse(relay_id, relay) for relay_id, relay in content.items())


def _version_of(file: Path) -> object:
    """Return a value that changes with the file, also if a link to it changes."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def _parse(relay_id: str, relay: Any) -> tuple[str, str]:
    """Return the id and the public key of an entry of the file."""
    if parse_relay_id(relay_id) is None:
        raise RelaysFileError(f"{relay_id!r:.60} is not a relay id; it must be a UUID.")
    if not isinstance(relay, dict) or not isinstance(relay.get("public_key"), str):
        raise RelaysFileError(f"{relay_id}: it must be an object with the member public_key.")
    if relay.get("internal") is not True:
        raise RelaysFileError(f'{relay_id}: it must have "internal": true; external relays are not supported.')
    try:
        parse_public_key(relay["public_key"])
    except SignatureError as error:
        raise RelaysFileError(f"{relay_id}: {error}.") from None
    return str(uuid.UUID(relay_id)), relay["public_key"]


def parse_relay_id(text: Any) -> str | None:
    """Return a relay id in the usual form of UUIDs; None if it is not a UUID."""
    try:
        return str(uuid.UUID(text)) if isinstance(text, str) else None
    except ValueError:
        return None


def _replace(file: Path, keys: Mapping[str, str]) -> None:
    content = {relay_id: {"public_key": key, "internal": True} for relay_id, key in keys.items()}
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as written:
        written.write(orjson.dumps(content))
    os.replace(written.name, file)  # noqa: PTH105 -- `written.name` is a text
