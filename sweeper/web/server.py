"""The web server: uvicorn in a thread of its own, with bounds and security headers."""

import socket
from collections.abc import Callable
from threading import Thread

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sweeper import events
from sweeper.app import App
from sweeper.errors import SettingsError
from sweeper.monitoring.health import Health
from sweeper.monitoring.stats import Stats
from sweeper.postgres.errors import in_one_line
from sweeper.settings import WebSettings
from sweeper.web.auth import Auth
from sweeper.web.bounds import Bounds
from sweeper.web.cache import Cache
from sweeper.web.connection import MAX_HEADER, Connection
from sweeper.web.live import Live
from sweeper.web.routes import routes
from sweeper.web.tokens import Token, accepted

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",  # with no-referrer, a form's origin would read "null"
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Web:
    """Serves the dashboard and the API; *wake* makes the service's workers read the queues at once.

    address -- host:port; None until the server is open
    """

    def __init__(self, app: App, stats: Stats, health: Health, wake: Callable[[], None]) -> None:
        self._settings = app.settings.web
        self._auth = auth = Auth(app.settings.web)
        cache = Cache(app, stats, health)
        self._live = Live(cache)
        config = uvicorn.Config(
            SecurityHeaders(Bounds(routes(auth, cache, self._live, wake), auth)),
            http=Connection,
            h11_max_incomplete_event_size=MAX_HEADER,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",  # every error is already logged as an event
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = Thread(target=self._serve, name="web", daemon=True)
        self._listener: socket.socket | None = None
        self.address: str | None = None

    def open(self) -> None:
        """Listen and serve; raises SettingsError if the port is required and cannot be opened."""
        host, port = self._settings.host, self._settings.port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            self._listener = socket.create_server((host, port), family=family)
        except OSError as error:
            reason = str(error.strerror).partition(" (")[0]
            message = f"web.port {port} on {host} cannot be opened: {reason}"
            if self._settings.required:
                message += "\nset web.port, or web.required = false to go on without the page"
                raise SettingsError(message) from error
            events.WEB_FAILED.log(error=message)
            return
        host, port = self._listener.getsockname()[:2]
        self.address = f"{host}:{port}"
        events.WEB_OPENED.log(address=self.address)
        self._thread.start()

    @property
    def accepts(self) -> tuple[Token, ...]:
        """The tokens that are accepted now."""
        return self._auth.sessions.tokens

    def renew(self, settings: WebSettings) -> None:
        """Accept the tokens of *settings* from now on, and no others; their sessions have ended."""
        self._auth.sessions.renew(accepted(settings))

    def close(self) -> None:
        """Accept no more requests; those in progress have two seconds to finish."""
        if self._thread.is_alive():
            self._live.over = True
            self._server.should_exit = True
            self._thread.join(3)

    def _serve(self) -> None:
        try:
            self._server.run([self._listener] if self._listener else None)
        except Exception as error:  # noqa: BLE001 -- sweeps do not depend on the web server
            events.WEB_FAILED.log(error=in_one_line(error))


class SecurityHeaders:
    """Middleware that adds the security headers to every answer."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner
        self._headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._inner(scope, receive, send_with_headers)
