"""Distributions of other people: built from a source tree, and installed beside the product."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from tests.support.paths import ROOT

# A build backend in the tree of the distribution itself: nothing has to be installed to build it.
BACKEND = '''
"""Build this distribution's wheel, whose name and version stand in pyproject.toml."""

import tomllib
import zipfile
from pathlib import Path


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    name, version = project["name"].replace("-", "_"), project["version"]
    info, wheel = f"{name}-{version}.dist-info", f"{name}-{version}-py3-none-any.whl"
    offered = [
        line
        for group, entries in project.get("entry-points", {}).items()
        for line in (f"[{group}]", *(f"{key} = {value}" for key, value in entries.items()))
    ]
    files = {str(file): file.read_text("utf-8") for file in Path(name).rglob("*.py")} | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nGenerator: own\\nRoot-Is-Purelib: true\\n"
        "Tag: py3-none-any\\n",
        f"{info}/entry_points.txt": "\\n".join(offered),
    }
    record = "".join(f"{file},,\\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(Path(wheel_directory, wheel), "w") as made:
        for file, text in {**files, f"{info}/RECORD": record}.items():
            made.writestr(file, text)
    return wheel
'''


def project(name: str, **entry_points: str) -> str:
    """Return a pyproject.toml that offers job packages under the names of entry points."""
    offered = "\n".join(f'{key} = "{value}"' for key, value in entry_points.items())
    return dedent("""\
        [build-system]
        requires = []
        build-backend = "backend"
        backend-path = ["."]

        [project]
        name = "{name}"
        version = "1.0"

        [project.entry-points."sweeper.jobs"]
        {offered}
        """).format(name=name, offered=offered)


def install(folder: Path, files: dict[str, str]) -> Path:
    """Write a source tree into *folder*, build its wheel, and install it; return where it lies."""
    source, target = folder / "source", folder / "installed"
    for name, content in {"backend.py": BACKEND, **files}.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(content), "utf-8")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    alone = ["--no-deps", "--no-index", "--no-build-isolation"]
    wheels = str(folder / "wheels")
    subprocess.run([*pip, "wheel", *alone, "--wheel-dir", wheels, str(source)], check=True)
    (wheel,) = (folder / "wheels").glob("*.whl")
    subprocess.run([*pip, "install", *alone[:2], "--target", str(target), str(wheel)], check=True)
    return target


def sweeper(
    installed: Path, *arguments: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command beside what was *installed*."""
    path = os.pathsep.join([str(installed), str(ROOT)])
    return subprocess.run(
        [sys.executable, "-m", "sweeper", *arguments],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
