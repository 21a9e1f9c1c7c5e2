"""A client of the API server: server-side apply with strict validation."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

Object = dict[str, Any]

_TIMEOUT: Final = 30.0  # seconds
_POLL_INTERVAL: Final = 0.2
_MANAGER: Final = "projectkeys-tests"


class RefusedError(Exception):
    """The API server refuses an object; the message is its reason."""


class Client:
    """An administrator's connection.

    Args:
        port: The port of the API server on 127.0.0.1.
        token: The token.
        certificate: The file with its certificate, which the server writes at its start.
    """

    def __init__(self, port: int, token: str, certificate: Path) -> None:
        self._base = f"https://127.0.0.1:{port}"
        self._token = token
        self._certificate = certificate
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}

    def wait_until_ready(self, timeout: float, *, is_running: Callable[[], bool]) -> bool:
        """Return whether the server becomes ready before it exits and before ``timeout`` seconds have passed."""
        deadline = time.monotonic() + timeout
        while is_running() and time.monotonic() < deadline:
            try:
                self._request("GET", "/readyz")
            except (OSError, RefusedError):
                time.sleep(_POLL_INTERVAL)
            else:
                return True
        return False

    def apply(self, manifest: Object) -> Object:
        """Apply an object by server-side apply and return the result; unknown and duplicate fields are refused.

        Raises:
            RefusedError: The server refuses it.
        """
        query = f"?fieldManager={_MANAGER}&fieldValidation=Strict&force=true"
        return self._request(
            "PATCH", self._path(manifest) + query, manifest, content_type="application/apply-patch+yaml"
        )

    def delete(self, manifest: Object) -> None:
        """Delete an object and what depends on it.

        Raises:
            RefusedError: There is none, or the server refuses it.
        """
        options = {"propagationPolicy": "Background", "gracePeriodSeconds": 0}
        self._request("DELETE", self._path(manifest), options)

    def has_resource(self, api_version: str, kind: str) -> bool:
        """Return whether the server serves a kind of object now."""
        self._resources.pop(api_version, None)
        try:
            return kind in self._kinds(api_version)
        except RefusedError:
            return False

    def _path(self, manifest: Object) -> str:
        api_version, metadata = manifest["apiVersion"], manifest["metadata"]
        plural, is_namespaced = self._kinds(api_version)[manifest["kind"]]
        namespace = f"/namespaces/{metadata['namespace']}" if is_namespaced else ""
        return f"{_group_path(api_version)}{namespace}/{plural}/{metadata['name']}"

    def _kinds(self, api_version: str) -> dict[str, tuple[str, bool]]:
        """Return the path and the scope of each kind of a version."""
        if api_version not in self._resources:
            resources = self._request("GET", _group_path(api_version))["resources"]
            self._resources[api_version] = {
                each["kind"]: (each["name"], each["namespaced"]) for each in resources if "/" not in each["name"]
            }
        return self._resources[api_version]

    def _request(
        self, method: str, path: str, body: Object | None = None, *, content_type: str = "application/json"
    ) -> Object:
        request = urllib.request.Request(  # noqa: S310 -- https to this machine
            self._base + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": content_type},
        )
        context = ssl.create_default_context(cafile=str(self._certificate))
        context.check_hostname = False  # the certificate names this machine
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT, context=context) as response:  # noqa: S310 -- as above
                content = response.read()
        except urllib.error.HTTPError as error:
            raise RefusedError(f"{error.code} {error.read().decode()}") from None
        return json.loads(content) if content.startswith(b"{") else {}


def _group_path(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
