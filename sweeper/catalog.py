"""The catalog: everything that the job packages export, collected by name and validated."""

import importlib
import pkgutil
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import Select, Table

from sweeper.codes import Codes
from sweeper.errors import CatalogError, UsageError
from sweeper.event import Event
from sweeper.events import ENGINE_EVENTS
from sweeper.exports import Effect, Figure, Finder, Grant, Listing, named
from sweeper.job import JobType, Section
from sweeper.rule import Rule

T = TypeVar("T")

GROUP = "sweeper.jobs"
"""The group of entry points by which an installed distribution offers its job package."""

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
    """Import job packages, by their names or entry points, and collect what their modules export.

    Raises CatalogError where two exports share a name, no job file exports a rule's job type, or a
    value of a collection has a fault.
    """
    packages = _imported(names)
    modules = [module for _, found in packages for module in found]
    for collection in (one for module in modules for one in getattr(module, "COLLECTS", ())):
        collection.fill(modules)
    jobs, rules = _collect(modules, "JOB", JobType), _collect(modules, "RULE", Rule)
    for rule in rules.values():
        if jobs.get(rule.job.name) is not rule.job:
            message = f"rule {rule.name} sends {rule.job.name}, which no job file exports"
            raise CatalogError(message)
    events = named(modules, "EVENTS", Event, {event.name: event for event in ENGINE_EVENTS})
    return Catalog(
        packages=tuple(package for package, _ in packages),
        jobs=jobs,
        rules=rules,
        sections=_sections(modules),
        commands=_commands(modules),
        facts=_each(modules, "FACTS"),
        figures=_all(modules, "FIGURES"),
        effects=_all(modules, "EFFECTS"),
        listings=named(modules, "LISTINGS", Listing),
        grants=_all(modules, "GRANTS"),
        tables=_all(modules, "TABLES"),
        codes=Codes(_each(modules, "CODES")),
        finders=_all(modules, "FINDERS"),
        next_steps=_each(modules, "NEXT_STEPS"),
        events=tuple(events[name] for name in sorted(events)),
    )


def _each(modules: Iterable[ModuleType], export: str) -> tuple[Any, ...]:
    return tuple(getattr(module, export) for module in modules if hasattr(module, export))


def _all(modules: Iterable[ModuleType], export: str) -> tuple[Any, ...]:
    return tuple(value for values in _each(modules, export) for value in values)


def _commands(modules: Iterable[ModuleType]) -> dict[str, Any]:
    """Return the command groups by the names of their files, with a hyphen for each underscore."""
    found: dict[str, Any] = {}
    for module in modules:
        name = module.__name__.rpartition(".")[2].replace("_", "-")
        value = getattr(module, "COMMANDS", None)
        if value is not None and found.setdefault(name, value) is not value:
            message = f"two job files bring the command {name}; one is {module.__name__}"
            raise CatalogError(message)
    return found


def _imported(names: Iterable[str]) -> list[tuple[str, list[ModuleType]]]:
    """Import the job packages of these names; return each with the modules directly in it.

    names -- of entry points in GROUP, or else of packages that can be imported

    Raises CatalogError where a name stands for no package, and where a module cannot be imported.
    """
    packages = dict.fromkeys(map(_package, names))
    return [(package, list(_modules(package))) for package in packages]


def _package(name: str) -> str:
    """Return the dotted name of the package that *name* stands for."""
    offered = sorted({found.module for found in entry_points(group=GROUP, name=name)} or {name})
    if len(offered) > 1:
        message = f"several job packages are called {name}: {', '.join(offered)}; name one"
        raise CatalogError(message)
    return offered[0]


def _modules(package: str) -> Iterator[ModuleType]:
    root = _import(package, package)
    if not hasattr(root, "__path__"):
        message = f"{package} is a single module; a job package is a folder with an __init__.py"
        raise CatalogError(message)
    yield root
    for found in pkgutil.iter_modules(root.__path__):
        yield _import(f"{package}.{found.name}", package)


def _import(module: str, package: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else ""
        if missing and f"{package}.".startswith(f"{missing}."):  # itself, or what it lies in
            names = sorted({found.name for found in entry_points(group=GROUP)})
            message = (
                f"there is no job package {package!r}; installed: {', '.join(names) or 'none'}\n"
                "install it beside sweeper, in its environment, or correct --jobs (SWEEPER_JOBS)"
            )
            raise CatalogError(message) from error
        message = f"job file {module} cannot be imported: {type(error).__name__}: {error}"
        raise CatalogError(message) from error


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


def _lookup(kind: str, name: str, known: Mapping[str, T]) -> T:
    if name not in known:
        message = f"there is no {kind} {name!r}; there are {', '.join(sorted(known))}"
        raise UsageError(message)
    return known[name]
