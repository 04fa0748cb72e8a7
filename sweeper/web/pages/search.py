"""The search: it opens the page of the only hit, or lists several."""

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sweeper.app import App
from sweeper.monitoring.about.search import Found, Hit, Kind, Search
from sweeper.web.pages.renderer import Renderer, address

_SEE_OTHER = 303


class SearchPage:
    """Answers what is typed into the header's field."""

    def __init__(self, app: App, renderer: Renderer) -> None:
        self._search = Search(app.database, app.queues, app.catalog)
        self._page = renderer.page

    def show(self, request: Request) -> Response:
        """Open the only hit's page, list several, or say what was tried."""
        typed = request.query_params.get("q", "")
        found = self._search.find(typed) if typed.strip() else Found("", [], ())
        if len(found.hits) == 1 and (page := page_of(found.hits[0])):
            return RedirectResponse(page, _SEE_OTHER)
        return self._page("search.html", request, found=found, page_of=page_of)


def page_of(hit: Hit) -> str | None:
    """Return the address of the page about *hit*; None where there is none."""
    match hit.kind:
        case Kind.KEY:
            return address(hit.id)
        case Kind.LETTER:
            return f"/dead/{hit.id}"
        case Kind.SWEEP:
            return f"/sweeps/{hit.id}"
        case Kind.MESSAGE:
            return None
