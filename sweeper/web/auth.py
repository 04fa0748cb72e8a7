"""Authentication: reads come from this host or need a token, actions need one that may act."""

import ipaddress
import re
import time
from asyncio import timeout
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum, auto
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from sweeper import events
from sweeper.queue.acts import By, Origin
from sweeper.settings import WebSettings
from sweeper.web.rate_limit import RateLimit
from sweeper.web.sessions import Sessions
from sweeper.web.tokens import Scope, Token, accepted

COOKIE = "sweeper"
PROBES = ("/livez", "/readyz")
METRICS = "/metrics"
SIGN_IN = "/sign-in"
LIVE = "/live"

_BODY_TIMEOUT = 10.0  # seconds to receive a body
_PROXY = re.compile("x-forwarded|forwarded$|via$|x-real-ip$|.*client-ip$|cf-connecting-ip$")

Endpoint = Callable[[Request], Awaitable[Response]]


class Caller(Enum):
    """The kinds of callers, each of which has a share of the server.

    PROBE      -- asks whether the service is alive or ready
    PROGRAM    -- has a token
    PERSON     -- has a session
    SCRAPER    -- reads the metrics, without a token
    READER     -- has neither token nor session
    LISTENER   -- a page that is open, whose browser waits to be told what changes
    GUESSER    -- has a wrong token, or signs in
    OTHER_SITE -- a browser, because a page of another site told it to
    """

    PROBE = auto()
    PROGRAM = auto()
    PERSON = auto()
    SCRAPER = auto()
    READER = auto()
    LISTENER = auto()
    GUESSER = auto()
    OTHER_SITE = auto()


_OWN_KINDS = {**dict.fromkeys(PROBES, Caller.PROBE), LIVE: Caller.LISTENER}
"""The addresses whose callers are of one kind, whoever they are."""


class Auth:
    """Wraps endpoints so that they answer only authorized requests."""

    def __init__(self, settings: WebSettings) -> None:
        self.sessions = Sessions(accepted(settings))
        self._public = settings.public
        self._trust_local = settings.trust_local
        self._names = {"localhost", settings.host}
        self._guesses = RateLimit(rate=0.2, burst=10)

    def require_local_or_token(self, endpoint: Callable[[Request], Response]) -> Endpoint:
        """Allow requests from this host, or with a token; all, if the settings say web.public."""

        async def guarded(request: Request) -> Response:
            if not (self.token(request) or self._public or self._is_local(request)):
                raise HTTPException(401)
            return await run_in_threadpool(endpoint, request)

        return guarded

    def require_token(
        self, endpoint: Callable[[Request, bytes], Response], scope: Scope = Scope.ACT
    ) -> Endpoint:
        """Allow requests with a token of *scope*; a session's form must have the CSRF token too."""

        async def guarded(request: Request) -> Response:
            if not self.sessions.exist:
                raise HTTPException(403, "acting over HTTP is off: SWEEPER_WEB__TOKEN is not set")
            token = self.token(request)
            if token is None:
                raise HTTPException(401)
            if scope is Scope.ACT and not token.may_act:
                raise HTTPException(403, f"the token {token.name} may read, and not act")
            body = await _body(request)
            if _bearer(request) is None and not self._has_csrf_token(request, fields(body)):
                raise _refused(request, 403, "foreign form")
            request.state.token = token
            return await run_in_threadpool(endpoint, request, body)

        return guarded

    def require_sign_in(self, endpoint: Callable[[Request, bytes], Response]) -> Endpoint:
        """Allow requests whose form has a token and comes from this origin."""

        async def guarded(request: Request) -> Response:
            body = await _body(request)
            if not _is_same_origin(request):
                raise _refused(request, 403, "foreign form")
            request.state.token = self._check(request, fields(body).get("token", ""))
            return endpoint(request, body)

        return guarded

    def caller(self, request: Request) -> Caller:
        """Return which kind of caller sent *request*."""
        path, token = request.scope["path"], _bearer(request)
        if _is_from_other_site(request):
            return Caller.OTHER_SITE
        if path in _OWN_KINDS:
            return _OWN_KINDS[path]
        if token is not None:
            return Caller.PROGRAM if self.sessions.accept(token) else Caller.GUESSER
        if path == SIGN_IN:
            return Caller.GUESSER
        if self._signed_in(request):
            return Caller.PERSON
        return Caller.SCRAPER if path == METRICS else Caller.READER

    def token(self, request: Request) -> Token | None:
        """Return the token of the request, or of its session; None where it has neither.

        Raises HTTPException for a wrong token.
        """
        given = _bearer(request)
        return self._signed_in(request) if given is None else self._check(request, given)

    def _signed_in(self, request: Request) -> Token | None:
        return self.sessions.token_of(request.cookies.get(COOKIE, ""), time.time())

    def _check(self, request: Request, given: str) -> Token:
        if token := self.sessions.accept(given):
            return token
        if not self._guesses.take(peer(request), time.monotonic()):
            raise HTTPException(429, "too many wrong tokens", {"retry-after": "60"})
        raise _refused(request, 401, "wrong token")

    def _has_csrf_token(self, request: Request, form: Mapping[str, str]) -> bool:
        session = request.cookies.get(COOKIE, "")
        return _is_same_origin(request) and self.sessions.is_csrf_token(
            session, form.get("seal", "")
        )

    def _is_local(self, request: Request) -> bool:
        """Return whether a process of this host sent the request, directly and to a local name.

        The check of the name prevents DNS rebinding: another site's name that resolves to this
        host. A proxy on this host betrays itself by its headers or, as nginx does unless it is told
        otherwise, by HTTP/1.0 alone; one that does neither is why `web.trust_local` can be off.
        """
        name = _split(f"//{request.headers.get('host', '')}")[1]
        return (
            self._trust_local
            and _is_loopback(peer(request))
            and (name in self._names or _is_loopback(name))
            and request.scope["http_version"] != "1.0"
            and not any(_PROXY.match(header) for header in request.headers)
        )


def peer(request: Request) -> str:
    """Return the address of the client."""
    return request.client.host if request.client else ""


def acting(request: Request) -> By:
    """Return who acts with *request*, by the name of a token, and whether through the page."""
    is_for_programs = request.url.path.startswith("/api/")
    return By(
        f"web {request.state.token.name} {peer(request)}",
        Origin.API if is_for_programs else Origin.PAGE,
    )


def fields(body: bytes) -> dict[str, str]:
    """Parse the body of a form; of several fields with one name, the last counts."""
    return dict(parse_qsl(body.decode(errors="replace")))


async def _body(request: Request) -> bytes:
    try:
        async with timeout(_BODY_TIMEOUT):
            return await request.body()
    except (TimeoutError, ClientDisconnect) as error:
        raise HTTPException(408) from error


def _refused(request: Request, status: int, reason: str) -> HTTPException:
    events.WEB_REFUSED.log(peer=peer(request), reason=reason)
    return HTTPException(status)


def _bearer(request: Request) -> str | None:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else None


def _is_same_origin(request: Request) -> bool:
    origin = request.headers.get("origin")
    return origin is None or _split(origin)[0] == request.headers.get("host")


def _is_from_other_site(request: Request) -> bool:
    """Return whether a page of another site made a browser send *request*.

    Another port of this host is another site here. https://www.w3.org/TR/fetch-metadata/
    """
    site = request.headers.get("sec-fetch-site")
    return not _is_same_origin(request) if site is None else site not in {"same-origin", "none"}


def _split(url: str) -> tuple[str, str]:
    """Return host:port and host of *url*, both empty if it is not a valid URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.netloc, parts.hostname or ""


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)
