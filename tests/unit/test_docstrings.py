"""Docstrings stand alone: each value of a public type is explained, and each error named."""

import ast
import dataclasses
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import sweeper
from tests.support.paths import ROOT

FACE = [getattr(sweeper, name) for name in sweeper.__all__]
OURS = [value for value in FACE if str(value.__module__).startswith("sweeper")]
DATACLASSES = [value for value in OURS if dataclasses.is_dataclass(value)]

# What says enough by its name beside the first sentence of its type.
PLAIN = {"label", "level", "name", "outcome", "schema", "status"}

# In a command's docstring, which is its help, and in a web page's, an error is an answer.
ANSWERING = ("sweeper/cli/", "sweeper/web/", "jobs/refunds.py")
_LENGTH = re.compile(r"(?:^|_)(?:age|delay|every|interval|keep|older_than|timeout|wait)$")
_ERROR = re.compile(r"\w+Error")

# A terminal's and a waiting thread's own spelling of seconds.
IN_SECONDS = {
    ("sweeper/cli/terminal/status_report.py", "every"),
    ("sweeper/outbound/call_pool.py", "delay"),
}


def undocumented(found: type) -> list[str]:
    """Return the methods and properties of a class, itself among them, without a docstring."""
    documented = {found.__name__: found.__doc__} | {
        name: value.__doc__
        for name, value in vars(found).items()
        if not name.startswith("_") and isinstance(value, FunctionType | property | classmethod)
    }
    return [f"{found.__name__}.{name}" for name, text in documented.items() if not text]


# At import, before a fixture replaces a method.
UNDOCUMENTED = [name for found in OURS if inspect.isclass(found) for name in undocumented(found)]


@cache
def trees() -> dict[str, ast.Module]:
    """Return the syntax of every shipped file but the migrations, by its path."""
    paths = [*(ROOT / "sweeper").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]
    return {_name(path): ast.parse(path.read_text("utf-8")) for path in paths}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield each public function, with its file."""
    for path, tree in trees().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield path, node


def errors() -> set[str]:
    """Return the names of the errors that the package declares."""
    classes = (node for tree in trees().values() for node in ast.walk(tree))
    return {
        node.name
        for node in classes
        if isinstance(node, ast.ClassDef) and _ERROR.fullmatch(node.name)
    }


def raised_in(function: ast.FunctionDef) -> set[str]:
    """Return the names of what the function's own lines raise."""
    raising = (node.exc for node in ast.walk(function) if isinstance(node, ast.Raise) and node.exc)
    calls = (node.func if isinstance(node, ast.Call) else node for node in raising)
    return {ast.unparse(node).rpartition(".")[2] for node in calls}


def annotated(tree: ast.Module) -> Iterator[tuple[str, ast.expr | None]]:
    """Yield the arguments and fields of a file, with their annotations."""
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg, node.annotation
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id, node.annotation


def test_what_a_job_file_may_use_has_docstrings() -> None:
    assert [] == UNDOCUMENTED


@pytest.mark.parametrize("found", DATACLASSES, ids=lambda found: found.__name__)
def test_each_value_of_a_public_type_is_explained(found: Any) -> None:
    """With its unit or shape, in the docstring's list or in its sentences."""
    values = [one.name for one in dataclasses.fields(found) if not one.name.startswith("_")]

    assert [] == [
        value
        for value in values
        if value not in PLAIN and not re.search(rf"\b{value}\b", inspect.getdoc(found) or "")
    ]


def test_a_public_function_names_the_errors_of_ours_that_it_raises() -> None:
    declared = errors()

    assert {"UsageError", "SettingsError", "ClockSkewedError"} <= declared
    assert [] == [
        (path, function.name, error)
        for path, function in functions()
        if not path.startswith(ANSWERING)
        for error in sorted(raised_in(function) & declared)
        if error not in (ast.get_docstring(function) or "")
    ]


def test_a_length_of_time_is_no_bare_number() -> None:
    """A timedelta has its unit in itself; where seconds are wanted, the name says so."""
    assert IN_SECONDS == {
        (path, name)
        for path, tree in trees().items()
        for name, annotation in annotated(tree)
        if _LENGTH.search(name) and annotation and ast.unparse(annotation) in {"int", "float"}
    }
