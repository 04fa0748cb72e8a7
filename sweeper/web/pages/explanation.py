"""The page of one key: what is the matter, its history, where it is, and what may be done."""

from starlette.requests import Request
from starlette.responses import Response

from sweeper.app import App
from sweeper.monitoring.about.place import State
from sweeper.web.pages.renderer import Renderer

_LOOKED_AT = ("ids and codes", "the ledger", "the queues and the dead letters")


class ExplanationPage:
    """Shows the explanation of one key."""

    def __init__(self, app: App, renderer: Renderer) -> None:
        self._app = app
        self._page = renderer.page
        self._unknown = renderer.unknown

    def show(self, request: Request) -> Response:
        """Answer with the explanation of the key in the address, which may be its code."""
        typed = request.path_params["key"] or request.query_params.get("key", "")
        explained = self._app.explainer.explain(typed)
        if not explained.is_known:
            return self._unknown(request, typed, _LOOKED_AT)
        due = any(check.due for check in explained.rules.values())
        dead = any(place.state is State.DEAD for place in explained.where)
        tone = "bad" if dead else "warn" if due else "good"
        return self._page(
            "explanation.html",
            request,
            explained=explained,
            tone=tone,
            has_dead=dead,
        )
