"""Job packages: found by the name of a module or of an entry point, and imported whole."""

import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from types import ModuleType

from sweeper.errors import CatalogError

GROUP = "sweeper.jobs"
"""The group of entry points by which an installed distribution offers its job package."""


def imported(names: Iterable[str]) -> list[tuple[str, list[ModuleType]]]:
    """Import the job packages of these names; return each with the modules directly in it.

    names -- of entry points in GROUP, or else of packages that can be imported

    Raises CatalogError where a name stands for no package, and where a module cannot be imported.
    """
    packages = dict.fromkeys(_package(name) for name in names)
    return [(package, list(_modules(package))) for package in packages]


def _package(name: str) -> str:
    """Return the dotted name of the package that *name* stands for."""
    offered = {found.module for found in entry_points(group=GROUP, name=name)}
    if len(offered) > 1:
        message = (
            f"several installed job packages are called {name}: {', '.join(sorted(offered))}\n"
            "name the one that you mean by its module"
        )
        raise CatalogError(message)
    return offered.pop() if offered else name


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
        if isinstance(error, ModuleNotFoundError) and _is_missing(package, error):
            raise CatalogError(_not_found(package)) from error
        message = f"job file {module} cannot be imported: {type(error).__name__}: {error}"
        raise CatalogError(message) from error


def _is_missing(package: str, error: ModuleNotFoundError) -> bool:
    """Return whether the package itself, or one that it lies in, is what was not found."""
    return error.name is None or f"{package}.".startswith(f"{error.name}.")


def _not_found(package: str) -> str:
    offered = sorted({found.name for found in entry_points(group=GROUP)})
    names = f"installed ones: {', '.join(offered)}" if offered else "no other one is installed"
    return (
        f"there is no job package {package!r}; {names}\n"
        "install it beside sweeper, in the same environment, or correct --jobs (SWEEPER_JOBS)"
    )
