"""An operation: what a request to one address for machines does; routes and description follow."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from pydantic import BaseModel

from sweeper.web.documents import Failed

_READ, _ACT = {"token": ["read"]}, {"token": ["act"]}  # by the scope that a token needs
_PARAMETER = re.compile(r"{(\w+)}")


class Access(Enum):
    """Who may make a request."""

    ANYONE = auto()
    LOCAL_OR_TOKEN = auto()
    TOKEN = auto()


SECURITY: Mapping[Access, Sequence[Mapping[str, Any]]] = {
    Access.ANYONE: [{}],
    Access.LOCAL_OR_TOKEN: [{}, _READ],
    Access.TOKEN: [_ACT],
}
REFUSALS: Mapping[Access, Sequence[int]] = {
    Access.ANYONE: [],
    Access.LOCAL_OR_TOKEN: [401],
    Access.TOKEN: [400, 401, 403, 408, 409, 413],
}


@dataclass(frozen=True, slots=True)
class Operation:
    """What a request to one address does.

    name    -- of the method that answers it: of `Api`; of `Readings` or `ApiV1` under /api/v1
    summary -- what it answers, or does
    answers -- the type of the answer by status, `str` for plain text; 200 stands first
    body    -- the type of what the request must hold; None for a request without a body
    query   -- the model of what may stand behind the question mark; None for nothing
    """

    path: str
    name: str
    summary: str
    access: Access
    answers: Mapping[int, Any]
    method: str = "GET"
    body: Any = None
    query: type[BaseModel] | None = None

    @property
    def parameters(self) -> list[str]:
        """The names of what stands in the path."""
        return _PARAMETER.findall(self.path)

    @property
    def all_answers(self) -> dict[int, list[Any]]:
        """The types of every answer by status, with those of the guard and the bounds."""
        refused = [*REFUSALS[self.access], 429, 431, 503]
        if self.query or self.parameters:
            refused += [400]
        if self.parameters:
            refused += [404]
        found = {status: [kind] for status, kind in self.answers.items()}
        for status in dict.fromkeys(refused):
            found[status] = [*found.get(status, []), Failed]
        return found
