"""Requests to the API that prepare what a client is run against, or check what it did."""

from dataclasses import dataclass
from typing import Any, Final

from testkit.clients.execution import ClientError
from testkit.http_client import HttpConnection

_SUCCESS: Final = range(200, 300)


@dataclass(frozen=True, slots=True)
class Api:
    """The API with a token.

    Args:
        url: Its base URL on this machine.
        token: The token of all requests.
    """

    url: str
    token: str

    async def send(self, method: str, path: str, body: object = None) -> Any:
        """Send a request to a path below /api/0/; return the decoded body once the event of the change is published.

        Raises:
            ClientError: The response is an error, or the event is still pending after ten seconds.
        """
        connection = HttpConnection(int(self.url.rpartition(":")[2]))
        response = await connection.request(
            method, f"/api/0/{path}", token=self.token, body=body, headers={"Prefer": "wait=10"}
        )
        connection.close()
        is_published = response.headers.get("event-status", "published") in {"published", "unchanged"}
        if response.status not in _SUCCESS or not is_published:
            raise ClientError(f"{method} {path}: {response.status} {response.body!r}")
        return response.json()
