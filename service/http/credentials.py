"""The credentials of a request: a token, or the cookie of a session of the console."""

from typing import Final

from service.domain.tokens import session_credential
from service.http.errors import NO_CREDENTIALS, HttpError, unauthenticated
from service.http.request import parse_json, read_bytes
from service.http.server.state import Request, state_of

COOKIE: Final = "__Host-projectkeys"
_SCHEME_AND_TOKEN: Final = 2
_JSON: Final = "application/json"


def credential(request: Request) -> str:
    """Return what `Tokens` authenticates: the token of a request, or else the session of the console.

    A request with the header Authorization never uses the cookie.

    Raises:
        HttpError: 401; there are no credentials, or they are malformed.
    """
    authorization = request.headers.get("Authorization")
    if authorization is None and is_sent_by_console(request) and (session_id := request.cookies.get(COOKIE)):
        return session_credential(session_id)
    parts = (authorization or "").split()
    if not parts or parts[0].lower() != "bearer":
        raise unauthenticated(NO_CREDENTIALS)
    if len(parts) == 1:
        raise unauthenticated("Invalid token header. No credentials provided.")
    if len(parts) > _SCHEME_AND_TOKEN:
        raise unauthenticated("Invalid token header. Token string should not contain spaces.")
    return parts[1]


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
