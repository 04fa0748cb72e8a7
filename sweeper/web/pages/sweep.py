"""The page of one sweep: who ran it and why, its counts, and what became of its jobs."""

from uuid import UUID

from starlette.requests import Request
from starlette.responses import Response

from sweeper.app import App
from sweeper.monitoring.about.sweep import SweepReader
from sweeper.web.pages.renderer import Renderer

_LOOKED_AT = ("the ledger's sweeps: dry runs, and what was pruned, are not there",)


class SweepPage:
    """Shows one sweep."""

    def __init__(self, app: App, renderer: Renderer) -> None:
        self._reader = SweepReader(app.database, app.queues, app.catalog)
        self._page = renderer.page
        self._unknown = renderer.unknown

    def show(self, request: Request) -> Response:
        """Answer with the sweep whose id is in the address."""
        sweep_id: UUID = request.path_params["sweep_id"]
        scans = self._reader.read(str(sweep_id))
        if not scans:
            return self._unknown(request, str(sweep_id), _LOOKED_AT)
        return self._page("sweep.html", request, sweep_id=str(sweep_id), scans=scans)
