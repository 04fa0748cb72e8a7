"""The reference of what a job file imports and exports, from the source and its docstrings."""

import ast
import copy
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import sweeper
from tests.docs import docstring
from tests.docs.markdown import code, page, table

_OPENING = """
A job file is a module of the job package. It imports from `sweeper` itself, never from a module
inside it, and it exports values under the names of [this
table](../architecture.md#what-a-job-file-may-export); nothing is registered anywhere. How to
write one: [Add a job](../how-to/add-a-job.md). This page is made of the docstrings; the words are
those of the [glossary](../glossary.md).

A key is what identifies the row that a job is about. Times are aware, in UTC; `now` is an
argument, and a handler never reads a clock.
""".strip()

_WIDTH = 90

_GROUPS = {
    "Jobs": ("JobType", "Payload", "Priority", "Lane", "Job"),
    "Rules": ("Rule",),
    "What a handler gets": ("Batch", "Outcome"),
    "Calls to a provider": ("Outside", "Pace", "Answer", "post", "Reply"),
    "Settings of its own": ("Section", "Duration"),
    "Events": ("Event", "Remedy"),
    "Lists, figures and more": (
        "Effect",
        "Figure",
        "Listing",
        "ListColumn",
        "ColumnKind",
        "Collection",
        "Finder",
        "Grant",
    ),
    "Tables": ("METADATA", "UtcTimestamp"),
    "Errors": (
        "RejectedError",
        "OutsideError",
        "LostReplyError",
        "RefusedError",
        "ThrottledError",
        "UsageError",
    ),
    "Acts by hand": ("Action",),
}


def python_page() -> str:
    """Return docs/reference/python.md; what no group has stands under a heading of its own."""
    grouped = [name for names in _GROUPS.values() for name in names]
    rest = tuple(name for name in sweeper.__all__ if name not in grouped)
    parts: list[Sequence[str]] = [[_OPENING]]
    for title, names in (_GROUPS | ({"Others": rest} if rest else {})).items():
        parts.append([f"## {title}"])
        for name in names:
            parts += described(name)
    return page("Python", *parts)


def described(name: str) -> Iterator[Sequence[str]]:
    """Yield the parts of the page about one name of `sweeper`."""
    node = _definition(name)
    yield [f"### {name}"]
    match node:
        case ast.ClassDef():
            yield from _class(node)
        case ast.FunctionDef():
            yield [_signature(node)]
            yield from _explained(node)
        case _:
            yield [_literal(name)]


def _class(node: ast.ClassDef) -> Iterator[Sequence[str]]:
    read = docstring.read(ast.get_docstring(node))
    yield [read.text]
    bases = [ast.unparse(base) for base in node.bases]
    if values := [*_values(node)]:
        own = [[code(value), read.meanings.get(name, "")] for name, value in values]
        yield (
            [f"One of {', '.join(code(value) for _, value in values)}."]
            if not read.meanings
            else []
        )
        yield table(("value", "means"), own) if read.meanings else []
        return
    if errors := [base for base in bases if base.endswith("Error") and base != "SweeperError"]:
        yield [f"A kind of {code(errors[0])}."]
    fields = [*_fields(node, read)]
    yield table(("field", "type", "default", "meaning"), fields)
    if not fields:  # they stand in the constructor
        yield table(("argument", "meaning"), [(code(n), m) for n, m in read.meanings.items()])
    for method in _methods(node):
        property_ = any("property" in ast.unparse(one) for one in method.decorator_list)
        yield [f"#### {node.name}.{method.name}"]
        yield [] if property_ else [_signature(method)]
        yield from _explained(method)


def _explained(node: ast.FunctionDef) -> Iterator[Sequence[str]]:
    read = docstring.read(ast.get_docstring(node))
    yield [read.text]
    yield table(("argument", "meaning"), [(code(n), m) for n, m in read.meanings.items()])


def _fields(node: ast.ClassDef, read: docstring.Docstring) -> Iterator[list[str]]:
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            name = one.target.id
            if not name.startswith("_"):
                kind, default = ast.unparse(one.annotation), _default(one)
                yield [code(name), code(kind), default, read.meanings.get(name, "")]


def _default(one: ast.AnnAssign) -> str:
    if one.value is None:
        return ""
    if isinstance(one.value, ast.Call) and ast.unparse(one.value.func) == "field":
        made = {word.arg: ast.unparse(word.value) for word in one.value.keywords}
        return code(made.get("default") or {"dict": "{}"}.get(made.get("default_factory", ""), ""))
    return code(_unparsed(one.value))


def _values(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the name and the value of each member, if the class lists what there is."""
    if any(ast.unparse(base) == "StrEnum" for base in node.bases):
        for one in node.body:
            if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant):
                yield ast.unparse(one.targets[0]), str(one.value.value)


def _methods(node: ast.ClassDef) -> Iterator[ast.FunctionDef]:
    inherited = {"process_bind_param", "process_result_value"}  # SQLAlchemy's to call
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and not one.name.startswith("_"):
            yield from () if one.name in inherited else (one,)


def _signature(node: ast.FunctionDef) -> str:
    """Return how a function is called, in one line or, where that is long, with a line for each."""
    given = [one.arg for one in node.args.args]
    arguments = _unparsed(node.args).removeprefix("self").removeprefix(", ")
    returned = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    line = f"{node.name}({arguments}){returned}"
    if len(line) > _WIDTH:
        parts = _parted(node.args, skipped=given[:1] == ["self"])
        line = "\n".join([f"{node.name}(", *(f"    {part}," for part in parts), f"){returned}"])
    return f"```python\n{line}\n```"


def _parted(arguments: ast.arguments, *, skipped: bool) -> Iterator[str]:
    """Yield each argument of a signature, without the first one if it is to be skipped."""
    plain = [None] * (len(arguments.args) - len(arguments.defaults)) + arguments.defaults
    for one, default in [*zip(arguments.args, plain, strict=True)][skipped:]:
        yield _argument(one, default)
    if arguments.kwonlyargs:
        yield "*"
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _argument(one, default)


def _argument(one: ast.arg, default: ast.expr | None) -> str:
    return f"{ast.unparse(one)} = {_unparsed(default)}" if default else ast.unparse(one)


class _Plain(ast.NodeTransformer):
    """Has a default that is a function, or a name of the module alone, say less."""

    def visit_Lambda(self, node: ast.Lambda) -> ast.expr:
        del node
        return ast.Constant(...)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Dict([], []) if node.id == "_NONE" else node


def _unparsed(node: ast.AST) -> str:
    return ast.unparse(_Plain().visit(copy.deepcopy(node)))


def _definition(name: str) -> ast.stmt | None:
    """Return where *name* is defined as a class or function, or None for any other value."""
    for one in ast.parse(_source(name)).body:
        if isinstance(one, ast.ClassDef | ast.FunctionDef) and one.name == name:
            return one
    return None


def _literal(name: str) -> str:
    """Return the text that stands below the assignment of *name*."""
    for one, below in pairwise(ast.parse(_source(name)).body):
        assigned = isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == name
        if assigned and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            return " ".join(str(below.value.value).split())
    message = f"{name} has no docstring below it"
    raise ValueError(message)


def _source(name: str) -> str:
    return Path(str(_module(name).__file__)).read_text("utf-8")


def _module(name: str) -> ModuleType:
    """Return the module from which `sweeper` has *name*."""
    for one in ast.parse(Path(str(sweeper.__file__)).read_text("utf-8")).body:
        if isinstance(one, ast.ImportFrom) and name in {alias.name for alias in one.names}:
            return import_module(str(one.module))
    return sys.modules["sweeper"]
