"""The catalog: everything that the job packages export, collected by name and validated."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import Select, Table

from sweeper.codes import Codes
from sweeper.errors import CatalogError, UsageError
from sweeper.event import Event
from sweeper.events import ENGINE_EVENTS
from sweeper.exports import Collection, Effect, Figure, Finder, Grant, Listing
from sweeper.job import JobType, Section
from sweeper.job_packages import imported
from sweeper.rule import Rule

T = TypeVar("T")

RESERVED = frozenset(
    {"database", "queue", "retry", "rules", "safety", "web", "history", "service", "log"}
)
"""The names of the engine's own settings sections."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything that the job files export, by name where it has one.

    packages -- the dotted names of the job packages
    facts   -- key -> statement of (at, what): what a job file adds to the history of one key
    figures -- the numbers that job files add to status and metrics
    effects -- the rows that their jobs change, for dry runs
    listings -- the lists that they add to page and command, by name
    grants  -- the table privileges that the job files' statements need
    tables  -- the platform's tables, with the columns that the job files' statements use
    codes   -- what people call keys by, from the job files' statements of (key, code)
    finders -- what else people may look keys up by
    next_steps -- key -> statement of (what, command) that may be done about it; {key} in a command
               stands for the key
    events  -- the engine's events and the job files', sorted by name
    """

    packages: tuple[str, ...]
    jobs: Mapping[str, JobType[Any]]
    rules: Mapping[str, Rule]
    sections: Mapping[str, type[Section]]
    commands: Mapping[str, Any]
    facts: tuple[Callable[[str], Select[Any]], ...]
    figures: tuple[Figure, ...]
    effects: tuple[Effect, ...]
    listings: Mapping[str, Listing]
    grants: tuple[Grant, ...]
    tables: tuple[Table, ...]
    codes: Codes
    finders: tuple[Finder, ...]
    next_steps: tuple[Callable[[str], Select[Any]], ...]
    events: tuple[Event, ...]

    def awake(self, on: Container[str]) -> "Catalog":
        """Return the catalog without its dormant rules, and without what is read about them.

        A rule is dormant if it is off by default and nobody has switched it on: what it would find
        is no work that waits. One that somebody has switched off still has its work waiting.

        on -- the names of the rules that are on
        """
        rules = {name: one for name, one in self.rules.items() if one.enabled or name in on}
        figures = (one for one in self.figures if one.rule is None or one.rule in rules)
        return replace(self, rules=rules, figures=tuple(figures))

    def job(self, name: str) -> JobType[Any]:
        """Return the job type with this wire name; raises UsageError for an unknown one."""
        return _lookup("job type", name, self.jobs)

    def rule(self, name: str) -> Rule:
        """Return the rule with this name; raises UsageError for an unknown one."""
        return _lookup("rule", name, self.rules)

    def listing(self, name: str) -> Listing:
        """Return the list of a job file with this name; raises UsageError for an unknown one."""
        return _lookup("list", name, self.listings)


def load(*names: str) -> Catalog:
    """Import job packages and every module directly in them, and collect what they export.

    names -- of the packages, or of their entry points; see `job_packages.imported`

    Raises CatalogError where two exports share a name, no job file exports a rule's job type, or a
    value of a collection has a fault.
    """
    packages = imported(names)
    modules = [module for _, found in packages for module in found]
    _fill_collections(modules)
    jobs = _collect(modules, "JOB", JobType)
    rules = _collect(modules, "RULE", Rule)
    sections = _sections(modules)
    commands = {
        module.__name__.rpartition(".")[2].replace("_", "-"): module.COMMANDS
        for module in modules
        if hasattr(module, "COMMANDS")
    }
    for rule in rules.values():
        if jobs.get(rule.job.name) is not rule.job:
            message = f"rule {rule.name} sends {rule.job.name}, which no job file exports"
            raise CatalogError(message)
    facts = tuple(module.FACTS for module in modules if hasattr(module, "FACTS"))
    figures = tuple(figure for module in modules for figure in getattr(module, "FIGURES", ()))
    effects = tuple(effect for module in modules for effect in getattr(module, "EFFECTS", ()))
    grants = tuple(grant for module in modules for grant in getattr(module, "GRANTS", ()))
    tables = tuple(table for module in modules for table in getattr(module, "TABLES", ()))
    finders = tuple(finder for module in modules for finder in getattr(module, "FINDERS", ()))
    next_steps = tuple(module.NEXT_STEPS for module in modules if hasattr(module, "NEXT_STEPS"))
    codes = Codes([module.CODES for module in modules if hasattr(module, "CODES")])
    return Catalog(
        tuple(package for package, _ in packages),
        jobs,
        rules,
        sections,
        commands,
        facts,
        figures,
        effects,
        _listings(modules),
        grants,
        tables,
        codes,
        finders,
        next_steps,
        events=_events(modules),
    )


def _collect(modules: Iterable[ModuleType], export: str, kind: type[T]) -> dict[str, T]:
    found: dict[str, T] = {}
    for module in modules:
        value = getattr(module, export, None)
        if value is None:
            continue
        if not isinstance(value, kind):
            message = f"{module.__name__}.{export} is not a {kind.__name__}"
            raise CatalogError(message)
        name: str = value.name  # type: ignore[attr-defined]
        if found.setdefault(name, value) is not value:
            message = (
                f"two job files export a {export} named {name}; the second is {module.__name__}"
            )
            raise CatalogError(message)
    return found


def _listings(modules: Iterable[ModuleType]) -> dict[str, Listing]:
    found: dict[str, Listing] = {}
    for module in modules:
        for listing in getattr(module, "LISTINGS", ()):
            if found.setdefault(listing.name, listing) is not listing:
                message = f"two lists are named {listing.name}; one is in {module.__name__}"
                raise CatalogError(message)
    return found


def _events(modules: Iterable[ModuleType]) -> tuple[Event, ...]:
    found = {event.name: event for event in ENGINE_EVENTS}
    for module in modules:
        for event in getattr(module, "EVENTS", ()):
            if not isinstance(event, Event):
                message = f"{module.__name__}.EVENTS holds {event!r}, which is not an Event"
                raise CatalogError(message)
            if found.setdefault(event.name, event) is not event:
                message = f"two events are named {event.name}; one is in {module.__name__}"
                raise CatalogError(message)
    return tuple(sorted(found.values(), key=lambda event: event.name))


def _sections(modules: Iterable[ModuleType]) -> dict[str, type[Section]]:
    found: dict[str, type[Section]] = {}
    for module in modules:
        value = getattr(module, "SETTINGS", None)
        if value is None:
            continue
        if not (isinstance(value, type) and issubclass(value, Section) and hasattr(value, "name")):
            message = f"{module.__name__}.SETTINGS is not a Section"
            raise CatalogError(message)
        if value.name in RESERVED:
            message = f"{module.__name__}.SETTINGS has the name {value.name}, which is reserved"
            raise CatalogError(message)
        if found.setdefault(value.name, value) is not value:
            message = f"two job files export SETTINGS named {value.name}; one is {module.__name__}"
            raise CatalogError(message)
    return found


def _fill_collections(modules: Sequence[ModuleType]) -> None:
    """Give each collection the values that the modules export for it; see `Collection`."""
    for module in modules:
        for collection in getattr(module, "COLLECTS", ()):
            collection.values = _values_of(collection, modules)


def _values_of(collection: Collection[T], modules: Iterable[ModuleType]) -> dict[str, T]:
    found: dict[str, T] = {}
    for module in modules:
        for value in getattr(module, collection.export, ()):
            if not isinstance(value, collection.kind):
                kind = collection.kind.__name__
                message = f"{module.__name__}.{collection.export} holds what is not a {kind}"
                raise CatalogError(message)
            name: str = value.name  # type: ignore[attr-defined]
            if found.setdefault(name, value) is not value:
                message = f"two {collection.export} are named {name}; one is in {module.__name__}"
                raise CatalogError(message)
            if faults := [f"{module.__name__}: {name} {each}" for each in collection.faults(value)]:
                raise CatalogError("\n".join(faults))
    for module in modules:
        for attribute, value in vars(module).items():
            if isinstance(value, collection.kind) and value not in found.values():
                message = f"{module.__name__}.{attribute} is not in {collection.export} of its file"
                raise CatalogError(message)
    return found


def _lookup(kind: str, name: str, known: Mapping[str, T]) -> T:
    if name not in known:
        message = f"there is no {kind} {name!r}; there are {', '.join(sorted(known))}"
        raise UsageError(message)
    return known[name]
