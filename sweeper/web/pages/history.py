"""The page of the history: a picture for each number, of the last hour, day or month."""

from sqlalchemy.exc import SQLAlchemyError
from starlette.requests import Request
from starlette.responses import Response

from sweeper.errors import UsageError
from sweeper.monitoring.history import History, Period
from sweeper.web.cache import Cache
from sweeper.web.pages.charts import draw, table
from sweeper.web.pages.renderer import Renderer


class HistoryPage:
    """Shows the history; requests for one period share a reading."""

    def __init__(self, cache: Cache, renderer: Renderer) -> None:
        self._page = renderer.page
        self._read = cache.history

    def show(self, request: Request) -> Response:
        """Answer /history with its pictures; without them if the database is down."""
        asked = request.query_params.get("period", Period.HOUR)
        if asked not in list(Period):
            message = f"there is no such period; there are {', '.join(Period)}"
            raise UsageError(message)
        period = Period(asked)
        found = self._found(period)
        pictures = [
            (title, series, draw(f"picture-{number}", title, series), table(series))
            for number, (title, series) in enumerate(found.pictures.items() if found else ())
        ]
        return self._page(
            "history.html",
            request,
            period=period,
            periods=list(Period),
            history=found,
            pictures=pictures,
        )

    def _found(self, period: Period) -> History | None:
        try:
            return self._read[period].get()
        except (SQLAlchemyError, TimeoutError):
            return None
