"""What a release holds: whole sources, types, one version, and Pythons that were tried."""

import fnmatch
import re
import tomllib

from tests.support.paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
TARGETS = PYPROJECT["tool"]["hatch"]["build"]["targets"]
LEFT_BEHIND = [*(ROOT / ".gitignore").read_text("utf-8").split(), ".git", "PKG-INFO"]


def is_left_behind(name: str) -> bool:
    """Whether runs leave *name* behind, or the sdist's own making does."""
    return any(fnmatch.fnmatch(name, pattern.rstrip("/")) for pattern in LEFT_BEHIND)


def test_the_sdist_has_every_file_and_folder_of_the_tree() -> None:
    """What is new at the top is named there, or, where it is left behind by a run, ignored."""
    found = {path.name for path in ROOT.iterdir() if not is_left_behind(path.name)}

    assert set() == found - set(TARGETS["sdist"]["only-include"])


def test_the_sdist_has_nothing_that_a_run_leaves_behind() -> None:
    assert [] == [name for name in TARGETS["sdist"]["only-include"] if is_left_behind(name)]
    assert {".hypothesis/", "dist/", "site/", ".venv/"} <= set(LEFT_BEHIND)


def test_the_wheel_s_packages_say_that_they_are_typed() -> None:
    assert [] == [
        package
        for package in TARGETS["wheel"]["packages"]
        if not (ROOT / package / "py.typed").exists()
    ]


def test_only_the_project_file_and_the_changelog_name_the_version() -> None:
    texts = [*ROOT.glob("*.md"), ROOT / "Makefile", *ROOT.glob("docs/**/*.md")]
    texts += [*ROOT.glob("systemd/**/*"), *ROOT.glob(".ci/*"), *ROOT.glob("sweeper/**/*.py")]
    named = re.compile(rf"(?<![\d.]){re.escape(PROJECT['version'])}(?![\d.])")

    assert ["CHANGELOG.md"] == [
        path.name for path in texts if path.is_file() and named.search(path.read_text("utf-8"))
    ]


def test_the_changelog_s_newest_release_is_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")

    assert ["Unreleased", PROJECT["version"]] == re.findall(
        r"^## \[(.+?)\]", changelog, re.MULTILINE
    )[:2]


def test_the_pythons_that_are_named_are_those_that_are_tried() -> None:
    named = re.findall(r"Python :: 3\.(\d+)'", str(PROJECT["classifiers"]))
    (tried,) = re.findall(r"for minor in ([\d ]+);", (ROOT / ".ci/pythons").read_text("utf-8"))

    assert named == tried.split()
    assert f">=3.{named[0]}" == PROJECT["requires-python"]
