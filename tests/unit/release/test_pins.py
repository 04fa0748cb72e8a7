"""What is installed is pinned by version and hash: for the service, its build, and development."""

import re
import tomllib
from collections.abc import Iterator
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT = PYPROJECT["project"]
EXTRAS = PROJECT["optional-dependencies"].values()
RUNTIME, BUILD, RELEASE = "requirements.txt", "requirements-build.txt", "requirements-release.txt"
DEVELOPMENT = "constraints.txt"
_HASH = r" \\\n    --hash=sha256:[0-9a-f]{64}"
_PIN = re.compile(rf"([\w.-]+)==([\w.]+)(?: ; ([^\\]+))?(?:{_HASH})+\n")
_COMMENT = re.compile(r"^#.*\n", re.MULTILINE)


def hashed(file: str) -> dict[str, str]:
    """Return the version of each package that *file* pins for this machine."""
    text = _COMMENT.sub("", (ROOT / file).read_text("utf-8"))
    return {
        canonicalize_name(name): version
        for name, version, marker in _PIN.findall(text)
        if not marker or Requirement(f"{name} ; {marker}").marker.evaluate()  # type: ignore[union-attr]
    }


def constraints() -> dict[str, str]:
    lines = (ROOT / DEVELOPMENT).read_text("utf-8").splitlines()
    pins = (line.split("==") for line in lines)
    return {canonicalize_name(name): version for name, version in pins}


def with_their_own(requirements: list[str], extra: str = "") -> Iterator[str]:
    """Yield what *requirements* need on this machine, and what that needs in its turn."""
    for one in map(Requirement, requirements):
        if one.marker and not one.marker.evaluate({"extra": extra}):
            continue
        yield canonicalize_name(one.name)
        needed = metadata.requires(one.name) or []
        for inner in ("", *one.extras):
            yield from with_their_own(needed, inner)


@pytest.mark.parametrize("file", [RUNTIME, BUILD, RELEASE])
def test_a_file_of_pins_holds_versions_and_hashes_only(file: str) -> None:
    """No option and no address: where packages come from is the machine's own affair."""
    text = (ROOT / file).read_text("utf-8")

    assert "" == _PIN.sub("", _COMMENT.sub("", text))
    assert "://" not in text


@pytest.mark.parametrize("file", [RUNTIME, BUILD, RELEASE])
def test_a_hashed_pin_is_the_version_that_was_tested(file: str) -> None:
    tested = constraints()

    assert {name: tested.get(name) for name in hashed(file)} == hashed(file)


def test_the_service_gets_what_the_project_depends_on_and_nothing_else() -> None:
    assert set(with_their_own(PROJECT["dependencies"])) == hashed(RUNTIME).keys()


def test_the_wheel_is_built_with_pinned_tools() -> None:
    required = {Requirement(one).name for one in PYPROJECT["build-system"]["requires"]}

    assert required <= hashed(BUILD).keys()


def test_a_release_is_built_and_checked_with_pinned_tools() -> None:
    required = {Requirement(one).name for one in PROJECT["optional-dependencies"]["release"]}

    assert required <= hashed(RELEASE).keys()


def test_each_dependency_has_its_reason_and_no_other_has_one() -> None:
    """In the first table of docs/decisions.md, by name."""
    decisions = (ROOT / "docs" / "decisions.md").read_text("utf-8")
    table = decisions.partition("| --- ")[2] or decisions.partition("|---")[2]
    first = re.findall(r"^\| ([^|]+) \| [^|]+ \|$", table.partition("\n\n")[0], re.MULTILINE)
    told = {
        canonicalize_name(name)
        for cell in first
        for name in re.sub(r"\(.*?\)", "", cell).replace(",", " ").split()
    }
    listed = [*PYPROJECT["build-system"]["requires"], *PROJECT["dependencies"]]
    listed += [one for extra in EXTRAS for one in extra]

    assert {canonicalize_name(Requirement(one).name) for one in listed} == told


@pytest.mark.parametrize("one", [*PROJECT["dependencies"], *(r for rs in EXTRAS for r in rs)])
def test_a_dependency_is_pinned_within_its_bounds(one: str) -> None:
    requirement = Requirement(one)

    assert constraints()[canonicalize_name(requirement.name)] in requirement.specifier
