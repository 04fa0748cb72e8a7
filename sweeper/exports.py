"""Further values of a job file: effects, figures, lists, finders, grants, collections."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import ModuleType
from typing import Any, Generic, TypeAlias, TypeVar

from sqlalchemy import ColumnElement, Select

from sweeper.errors import CatalogError
from sweeper.job import Section

Shown: TypeAlias = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Effect:
    """A kind of rows that jobs change; a job file exports them in the tuple EFFECTS.

    name     -- its key in the JSON document of a dry run
    label    -- its name for people
    query    -- the jobs' keys -> the rows that they may change, whose first column identifies the
                row; it runs before the work and after it
    shown    -- (before, after) -> what a report shows of a changed row; a missing row is empty
    rendered -- (after, the job files' settings) -> the text that a new row leads to; it raises what
                its sending would raise, so that a dry run finds a broken one; None where no text is
    """

    name: str
    label: str
    query: Callable[[Sequence[str]], Select[Any]]
    shown: Callable[[Shown, Shown], Shown]
    rendered: Callable[[Shown, Mapping[type[Section], Section]], str] | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """A number for status and metrics; a job file exports them in the tuple FIGURES.

    name  -- the metric's name without `sweeper_`: lower case, underscores, the unit last
    label -- its name for people
    query -- the statement that selects the number; NULL counts as 0
    shown -- formats the number for people
    rule  -- the rule that it is about: it is not read while that one is dormant
    """

    name: str
    label: str
    query: Select[Any]
    shown: Callable[[float], str] = "{:,.0f}".format
    rule: str | None = None


class ColumnKind(StrEnum):
    """What a column of a list holds, which decides how it is shown and where it leads.

    LETTER -- the id of a dead letter
    SWEEP  -- the id of a sweep
    TAG    -- one of a few words
    """

    TEXT = "text"
    KEY = "key"
    TIME = "time"
    NUMBER = "number"
    TAG = "tag"
    LETTER = "letter"
    SWEEP = "sweep"


@dataclass(frozen=True, slots=True)
class ListColumn:
    """One column of a list.

    name  -- of the statement's column
    label -- its name for people
    shown -- formats a value for people; None for what the kind says
    """

    name: str
    label: str
    kind: ColumnKind = ColumnKind.TEXT
    shown: Callable[[Any], str] | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A list of rows, the newest first; a job file exports them in the tuple LISTINGS.

    name    -- its name in addresses and on the command line
    label   -- its name for people
    query   -- the statement of its rows, which shows no secret and no phone
    place   -- the columns by which it is in order, and which no two rows share; with an index on
               them a page costs the same at any depth
    columns -- what is shown of a row, in the order of a page
    at      -- the column by which it is filtered by age; None where there is none
    key     -- the column with the key that a row is about; None where there is none
    choices -- column -> its values, where it can be filtered by them
    exact   -- the filters that an index serves; for others the newest rows are looked through
    """

    name: str
    label: str
    query: Select[Any]
    place: Sequence[str]
    columns: Sequence[ListColumn]
    at: str | None = None
    key: str | None = None
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)
    exact: frozenset[str] = frozenset()

    def words(self, name: str) -> dict[str, str]:
        """Return what people call each choice of the column *name*, where it has other words."""
        shown = {column.name: column.shown for column in self.columns}.get(name)
        return {value: shown(value) for value in self.choices[name]} if shown else {}


@dataclass(frozen=True, slots=True)
class Finder:
    """Finds keys by what a person types; a job file exports them in the tuple FINDERS.

    name  -- its key in the JSON document of `sweeper find`
    label -- what it looks at, for people, who are told where nothing is found
    query -- (text, keys) -> the statement of (key, what) of those among *keys* that may be meant,
             the likeliest first; None for a text that is nothing it looks for. *keys* is an array
             in SQL, of the keys that were last decided about: no large table is read in whole
    """

    name: str
    label: str
    query: Callable[[str, ColumnElement[Any]], Select[Any] | None]


@dataclass(frozen=True, slots=True)
class Grant:
    """A privilege on one table that a job file's statements need; exported in the tuple GRANTS.

    schema  -- None for a table of the platform, whose schema the URL names
    table   -- its name, or the signature of a function where the privilege is execute
    columns -- the columns that it is limited to; empty for the whole table
    """

    schema: str | None
    table: str
    privilege: str
    columns: tuple[str, ...] = ()


def named(
    modules: Iterable[ModuleType], export: str, kind: type[T], known: Mapping[str, T] | None = None
) -> dict[str, T]:
    """Return by name what the modules export in tuples called *export*, beside what is *known*.

    Raises CatalogError for a value of another kind, and for two values of one name.
    """
    found = dict(known or {})
    for module in modules:
        for value in getattr(module, export, ()):
            if not isinstance(value, kind):
                one = f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
                message = f"{module.__name__}.{export} holds what is not {one}: {value!r}"
                raise CatalogError(message)
            name: str = value.name  # type: ignore[attr-defined]
            if found.setdefault(name, value) is not value:
                message = f"two {export} are named {name}; one is in {module.__name__}"
                raise CatalogError(message)
    return found


@dataclass(slots=True)
class Collection(Generic[T]):
    """Values that any job file may export for one job file that uses them all.

    That one exports the collection in the tuple COLLECTS. Loading the catalog fills it, with the
    values of the job files that were loaded last; nothing is registered by being imported.

    export -- the name of the tuple in which the others export their values
    kind   -- the class of the values; each has a `name`, which no other has
    faults -- a value -> what is wrong with it, one line for each fault
    values -- what was found, by name
    """

    export: str
    kind: type[T]
    faults: Callable[[T], Iterable[str]] = lambda _value: ()
    values: Mapping[str, T] = field(default_factory=dict, init=False)

    def fill(self, modules: Sequence[ModuleType]) -> None:
        """Take over what the modules export for it; raises CatalogError for what does not fit."""
        found = named(modules, self.export, self.kind)
        for module in modules:
            for value in getattr(module, self.export, ()):
                self._check(module, value)
            for attribute, value in vars(module).items():
                if isinstance(value, self.kind) and value not in found.values():
                    message = f"{module.__name__}.{attribute} is not in {self.export} of its file"
                    raise CatalogError(message)
        self.values = found

    def _check(self, module: ModuleType, value: Any) -> None:
        if faults := [f"{module.__name__}: {value.name} {each}" for each in self.faults(value)]:
            raise CatalogError("\n".join(faults))
