"""Codes: what people call a key by, which is shown beside the key and accepted in its place."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    CompoundSelect,
    Connection,
    Select,
    Subquery,
    Text,
    any_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    union_all,
)

from sweeper.errors import UsageError
from sweeper.redact import short

_CHUNK = 1000  # keys whose codes one statement looks up
_LONGEST = 200  # characters of a code that are shown
_NAMED = 10  # keys that an error names


@dataclass(frozen=True, slots=True)
class Codes:
    """Looks up the codes of keys, and the key that a person means.

    sources -- the job files' CODES: statements of (key, code); the first that knows a key's wins
    """

    sources: Sequence[Select[Any]] = ()

    def of(self, tx: Connection, keys: Iterable[str | None]) -> dict[str, str]:
        """Return the code of each key that has one; there is one statement for 1000 keys."""
        wanted = list(dict.fromkeys(key for key in keys if key)) if self.sources else []
        codes: dict[str, str] = {}
        for start in range(0, len(wanted), _CHUNK):
            for key, code, _ in tx.execute(self._of(wanted[start : start + _CHUNK])):
                codes.setdefault(key, code)
        return codes

    def find(self, tx: Connection, typed: str) -> str | None:
        """Return the key that *typed* is, or is the code of; None where no source knows it.

        A key wins over a code, and a code as it is typed over the same in capitals, then in small
        letters. Spaces around either do not matter.
        Raises UsageError where several keys have the code, and for what cannot be text.
        """
        keys = self.meant(tx, typed)
        if len(keys) > 1:
            named = ", ".join(short(key) for key in keys[:_NAMED])
            more = ", ..." if len(keys) > _NAMED else ""
            message = (
                f"several have the code {short(typed.strip())!r}: {named}{more}; give one's id"
            )
            raise UsageError(message)
        return keys[0] if keys else None

    def meant(self, tx: Connection, typed: str) -> list[str]:
        """Return the keys that *typed* may mean, as `find` does; several where all have the code.

        There are 11 at most. Raises UsageError for what cannot be text.
        """
        exact = typed.strip()
        if "\0" in typed or not _is_unicode(typed):
            message = f"there is no id or code {short(typed)!r}"
            raise UsageError(message)
        if not (exact and self.sources):
            return []
        found = tx.execute(self._find(typed, exact)).all()
        return [key for key, rank in found if rank == found[0].rank]

    def _of(self, keys: Sequence[str]) -> CompoundSelect[Any]:
        """Select (key, code, place of the source) of *keys*, in the order of the sources."""
        queries = []
        for place, rows in enumerate(self._rows()):
            code = func.nullif(func.btrim(func.left(rows.c.code, _LONGEST)), "")
            queries.append(
                select(rows.c.key, code, literal(place).label("place")).where(
                    rows.c.key == _any_of(keys), code.is_not(None)
                )
            )
        return union_all(*queries).order_by("place")

    def _find(self, typed: str, exact: str) -> Select[Any]:
        """Select (key, rank) of the keys that may be meant, the best rank first."""
        queries = []
        for rows in self._rows():
            key, code = rows.c.key, rows.c.code
            spellings = (exact, exact.upper(), exact.lower())
            ranks = [(code == spelling, rank) for rank, spelling in enumerate(spellings, start=2)]
            rank = case((key == typed, 0), (key == exact, 1), *ranks)
            is_meant = or_(key == _any_of((typed, exact)), code == _any_of(spellings))
            queries.append(select(key, rank.label("rank")).where(is_meant))
        meant = union_all(*queries).subquery("meant")
        best = func.min(meant.c.rank).label("rank")
        query = select(meant.c.key, best).group_by(meant.c.key)
        return query.order_by(best, meant.c.key).limit(_NAMED + 1)

    def _rows(self) -> list[Subquery]:
        return [source.subquery(f"source_{place}") for place, source in enumerate(self.sources)]


def _any_of(texts: Sequence[str]) -> Any:
    return any_(cast(list(texts), ARRAY(Text)))


def _is_unicode(typed: str) -> bool:
    """Return whether *typed* can be encoded; an argument that is not UTF-8 cannot."""
    try:
        typed.encode()
    except UnicodeEncodeError:
        return False
    return True
