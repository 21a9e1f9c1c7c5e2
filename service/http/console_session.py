"""The credentials of the console: the cookie of a session, and the token in the body of a sign-in."""

from typing import Final

from service.domain.tokens import session_credential
from service.http.errors import HttpError, unauthenticated
from service.http.request import parse_json, read_bytes
from service.http.server.state import Request, state_of

COOKIE: Final = "__Host-projectkeys"
_JSON: Final = "application/json"


def session_of(request: Request) -> str | None:
    """Return the session that the console sends, as `Tokens` authenticates it; None if there is none."""
    session_id = request.cookies.get(COOKIE) if is_sent_by_console(request) else None
    return session_credential(session_id) if session_id else None


def is_sent_by_console(request: Request) -> bool:
    """Return whether the browser says that a page of this origin sends the request; only then a cookie counts.

    SameSite=Strict is not sufficient: a page on another port of the same host is of the same site. A form can send
    no JSON, and a page of another origin needs a permission to, which this service never gives.
    """
    origin = state_of(request).console_origin
    if origin is None or request.headers.get("Sec-Fetch-Site") != "same-origin":
        return False
    if request.method in {"GET", "HEAD"}:
        return True
    sender = request.headers.get("Origin", "")
    is_own = sender == origin if origin else sender.partition("://")[2] == request.headers.get("Host")
    return is_own and request.content_type == _JSON


async def token_in_body(request: Request) -> str:
    """Return the token in the JSON body of a sign-in.

    Raises:
        HttpError: 400 if the body is no object with a token, 403 if no page of the console sends the request; and as
            `read_bytes`.
        BusyError: As `read_bytes`.
    """
    if not is_sent_by_console(request):
        origin = state_of(request).console_origin or "the origin of the console"
        raise HttpError(403, f"Sign in on a page of {origin}; the body must be {_JSON}.")
    body = parse_json(await read_bytes(request, share=0))
    token = body.get("token") if isinstance(body, dict) else None
    if not isinstance(token, str) or not token.strip():
        raise HttpError(400, {"token": ["This field is required."]})
    if " " in (token := token.strip()):
        raise unauthenticated("Invalid token")
    return token
