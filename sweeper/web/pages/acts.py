"""The page of the acts: what people did by hand, a page at a time, and the form that filters it."""

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from sweeper.errors import UsageError
from sweeper.monitoring.acts import ActFilter, ActReader
from sweeper.postgres import clock
from sweeper.queue.acts import Action
from sweeper.queue.wire import faults
from sweeper.settings import Length
from sweeper.web.pages.renderer import Renderer


class _Wanted(BaseModel):
    """What the address of the page asks for; see ActFilter."""

    model_config = ConfigDict(frozen=True)

    action: Action | None = None
    actor: str | None = Field(None, max_length=200)
    since: Length | None = None
    before: int | None = Field(None, ge=1)


class ActsPage:
    """Shows the acts."""

    def __init__(self, reader: ActReader, renderer: Renderer) -> None:
        self._reader = reader
        self._page = renderer.page

    def show(self, request: Request) -> Response:
        """Answer /acts, with the filter that the form has put into the address."""
        given = {name: value for name, value in request.query_params.items() if value.strip()}
        try:
            wanted = _Wanted.model_validate(given)
        except ValidationError as error:
            raise UsageError(faults(error)) from error
        found = self._reader.read(ActFilter(**dict(wanted)))
        asked = {name: given[name] for name in ("action", "actor", "since") if name in given}
        return self._page(
            "acts.html",
            request,
            now=clock.now(),
            page=found,
            actions=[str(action) for action in Action],
            asked={"action": "", "actor": "", "since": ""} | asked,
            is_filtered=bool(asked),
            is_older="before" in given,
            older=asked | {"before": str(found.older)} if found.older else None,
        )
