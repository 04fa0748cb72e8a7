"""Signing in and out: a token of the settings for a session's cookie."""

import time

from starlette.requests import Request
from starlette.responses import Response

from sweeper.web.auth import COOKIE, fields
from sweeper.web.pages.renderer import Renderer, back_to
from sweeper.web.sessions import SESSION, Sessions


class SignIn:
    """Shows the form for the token, and begins and ends sessions."""

    def __init__(self, sessions: Sessions, renderer: Renderer) -> None:
        self._sessions = sessions
        self._page = renderer.page

    def show(self, request: Request) -> Response:
        """Answer with the form; `next` names the page to go on with."""
        return self._page("sign_in.html", request, next=_local(request.query_params.get("next")))

    def begin(self, request: Request, body: bytes) -> Response:
        """Start a session and set its cookie."""
        answer = back_to(_local(fields(body).get("next")))
        session = self._sessions.begin(request.state.token, time.time())
        answer.set_cookie(COOKIE, session, max_age=int(SESSION), httponly=True, samesite="strict")
        return answer

    def end(self, request: Request, _body: bytes) -> Response:
        """End the session, and delete its cookie."""
        self._sessions.end(request.cookies.get(COOKIE, ""))
        answer = back_to("/")
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        return answer


def _local(path: str | None) -> str:
    r"""Return *path* if it is one of this site; browsers read // and /\ as another site."""
    is_local = path and path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if path and is_local and path.isprintable() else "/"
