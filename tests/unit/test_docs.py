"""The pages in docs/ name the files that there are: the tree is whole, and no path is stale."""

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = (
    "architecture.md",
    "contributing.md",
    "decisions.md",
    "glossary.md",
    "mutants.md",
    "security.md",
)
_PATH = re.compile(r"`((?:[\w-]+/)+[\w.-]+\.(?:py|toml|md|sql|html))`")
_FOLDERS = (ROOT, ROOT / "sweeper", ROOT / "jobs", DOCS)
_PLACEHOLDER = re.compile(r"NAME|NNNN")


def tree() -> str:
    """Return the tree that docs/architecture.md draws."""
    return (DOCS / "architecture.md").read_text("utf-8").split("```")[1]


def shipped() -> list[Path]:
    """Return every module of the engine and of the domain, apart from migrations."""
    found = [*(ROOT / "sweeper").rglob("*.py"), *(ROOT / "jobs").rglob("*.py")]
    return sorted(p for p in found if "migrations" not in p.parts and p.stem != "__init__")


def test_the_tree_names_every_module() -> None:
    missing = [path.name for path in shipped() if not re.search(rf"\b{path.name}\b", tree())]

    assert [] == missing


def test_the_tree_names_no_module_that_does_not_exist() -> None:
    existing = {path.name for folder in ("sweeper", "jobs") for path in (ROOT / folder).rglob("*")}

    assert set() == set(re.findall(r"\b\w+\.(?:py|sql)\b", tree())) - existing


@pytest.mark.parametrize("page", PAGES)
def test_every_path_on_a_page_exists(page: str) -> None:
    found = _PATH.findall((DOCS / page).read_text("utf-8"))
    paths = [path for path in found if not _PLACEHOLDER.search(path)]

    stale = [path for path in paths if not any((folder / path).exists() for folder in _FOLDERS)]

    assert [] == stale
