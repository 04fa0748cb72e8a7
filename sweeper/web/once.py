"""Forms that act once: a second click, or a reload, gets the answer of the first."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Lock

from starlette.requests import Request
from starlette.responses import Response

from sweeper.errors import BusyError
from sweeper.web.auth import COOKIE, fields

FIELD = "once"
"""The field of a form that is new each time the form is shown."""

_PATIENCE = 10.0  # seconds that a second click waits for the answer to the first
_KEPT = 256  # answers of forms that may be sent again

Form = Callable[[Request, bytes], Response]


class Once:
    """Remembers the answers to forms, for as long as somebody may send one again.

    A form that failed is forgotten: whoever sends it again means it.
    """

    def __init__(self) -> None:
        self._answers = OrderedDict[tuple[str, str], Future[Response]]()
        self._lock = Lock()

    def once(self, endpoint: Form) -> Form:
        """Return *endpoint* so that a form that it has answered is not carried out again."""

        def guarded(request: Request, body: bytes) -> Response:
            form = fields(body).get(FIELD)
            if not form:
                return endpoint(request, body)
            key = (request.cookies.get(COOKIE, ""), form)
            answer, is_first = self._begun(key)
            if is_first:
                try:
                    answer.set_result(endpoint(request, body))
                except Exception as error:  # noqa: BLE001 -- `result` raises it, for all who wait
                    self._forget(key)
                    answer.set_exception(error)
            elif not wait([answer], _PATIENCE).done:
                raise BusyError
            return answer.result()

        return guarded

    def _begun(self, key: tuple[str, str]) -> tuple[Future[Response], bool]:
        """Return the answer to a form, which is to come, and whether it was sent just now."""
        with self._lock:
            answer = self._answers.get(key)
            if answer is not None:
                return answer, False
            answer = self._answers[key] = Future()
            if len(self._answers) > _KEPT:
                self._answers.popitem(last=False)
            return answer, True

    def _forget(self, key: tuple[str, str]) -> None:
        with self._lock:
            self._answers.pop(key, None)
