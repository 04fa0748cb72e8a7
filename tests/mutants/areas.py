"""The areas in which faults are planted, in the order of the page, and all their mutants."""

from importlib import import_module

from tests.mutants.mutant import Mutant

_NAMES = (
    "orders",
    "money",
    "scans",
    "plans",
    "endings",
    "crashes",
    "bodies",
    "dead_letters",
    "calls",
    "notices",
    "reminders",
    "database",
    "secrets",
    "access",
    "web",
    "monitoring",
    "service",
    "operators",
    "upkeep",
)


def _load(name: str) -> tuple[str, tuple[Mutant, ...]]:
    module = import_module(f"tests.mutants.planted.{name}")
    return str(module.__doc__).strip().rstrip("."), module.MUTANTS


AREAS = dict(map(_load, _NAMES))
"""By title: the mutants of one area."""

ALL = tuple(mutant for mutants in AREAS.values() for mutant in mutants)
