"""The page of one dead letter: why it died, its body with secrets and phones masked, and acts."""

import re

from starlette.requests import Request
from starlette.responses import Response

from sweeper import redact
from sweeper.app import App
from sweeper.monitoring.about import next_steps
from sweeper.postgres import clock
from sweeper.queue.dead_letters import dead_letter_table
from sweeper.web.pages.renderer import Renderer

_BODY = 20_000  # characters of a body that are shown
_BEYOND = 200  # that are read beyond, and left out: half a number at the end is none to a mask
_NUMBER = re.compile(r"[0-9]{1,18}")  # fits a BIGINT
_LOOKED_AT = ("dead letters: one that was retried or dropped is gone",)


class LetterPage:
    """Shows one dead letter."""

    def __init__(self, app: App, renderer: Renderer) -> None:
        self._app = app
        self._page = renderer.page
        self._unknown = renderer.unknown

    def show(self, request: Request) -> Response:
        """Answer with the dead letter whose id is in the address."""
        typed = request.path_params["msg_id"]
        msg_id = int(typed) if _NUMBER.fullmatch(typed) else 0
        found = dead_letter_table.letters(self._app.queues)
        chosen = found.c.msg_id == msg_id
        with self._app.database.transaction() as tx:
            letters = dead_letter_table.newest(tx, found, chosen, most=1, body=_BODY + _BEYOND)
            codes = self._app.catalog.codes.of(tx, [letter.key for letter in letters])
        if not letters:
            return self._unknown(request, typed, _LOOKED_AT)
        letter = letters[0]
        is_cut = letter.body is not None and len(letter.body) > _BODY
        body = None if letter.body is None else redact.text(letter.body)
        return self._page(
            "letter.html",
            request,
            letter=letter,
            codes=codes,
            body=body[:-_BEYOND] if body and is_cut else body,
            is_cut=is_cut,
            possible=next_steps.of_letter(letter.msg_id),
            now=clock.now(),
        )
