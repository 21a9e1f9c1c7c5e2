"""The application of the API: its routes and their background tasks."""

from collections.abc import AsyncIterator

from aiohttp import web

from service.concurrency.supervisor import supervised
from service.http.console.pages import add_console_routes
from service.http.docs.asyncapi_page import add_asyncapi_routes
from service.http.docs.swagger_page import add_openapi_routes
from service.http.health import add_health_route
from service.http.ops import Health
from service.http.routes import routes
from service.http.serializers import KeySerializer
from service.http.server.middleware import ROUTES
from service.http.server.state import ServerState
from service.usecases.use_cases import UseCases


def create_app(
    state: ServerState, health: Health, use_cases: UseCases, key_serializer: KeySerializer, topic: str
) -> web.Application:
    """Create the application of the API.

    Args:
        state: The limits of the server.
        health: The readiness of the process.
        use_cases: The use cases that the handlers call.
        key_serializer: The serializer of keys in responses.
        topic: The name of the topic that the AsyncAPI document describes.
    """
    app = web.Application()
    app[ROUTES] = routes(state, use_cases, key_serializer)
    add_health_route(app[ROUTES], state, health)
    add_openapi_routes(app[ROUTES], state)
    add_asyncapi_routes(app[ROUTES], state, topic)
    add_console_routes(app[ROUTES], state)
    state.metrics.streams.set_function(lambda: use_cases.event_feed.streams)

    async def run_background_tasks(_app: web.Application) -> AsyncIterator[None]:
        restarts = state.metrics.restarts
        async with (
            supervised("deadlines", state.deadlines.run, restarts),
            supervised("admission", state.admission.run, restarts),
            supervised("token uses", use_cases.tokens.uses.write, restarts),
            supervised("event feed", use_cases.event_feed.run, restarts),
        ):
            yield

    app.cleanup_ctx.append(run_background_tasks)
    return app
