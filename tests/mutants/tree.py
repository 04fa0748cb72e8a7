"""A copy of the tree, in which mutants are planted and the tests run that must see them."""

import os
import re
import shutil
import subprocess
import sys
import time
from compileall import compile_dir
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from py_compile import PycInvalidationMode
from signal import SIGKILL

from tests.mutants.mutant import Mutant, StaleError
from tests.support.paths import ROOT

_LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "dist", "node_modules")
_TIMEOUT = 120  # seconds; the tests of a mutant take a few
_FAILED = re.compile(r"^FAILED (\S+::\w+)", re.MULTILINE)
_RAN, _FOUND_FAILURES = 0, 1  # exit codes of pytest


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "survived"
    STALE = "stale"
    HUNG = "hung"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of *mutant*, by which test, and in how many seconds.

    test -- that failed; None where none did
    why  -- what pytest or the source said, where it is not killed
    """

    mutant: Mutant
    fate: Fate
    seconds: float
    test: str | None = None
    why: str = ""

    @property
    def is_well(self) -> bool:
        """Whether a test has seen the fault, or none was expected to."""
        wanted = Fate.SURVIVED if self.mutant.equivalent else Fate.KILLED
        return self.fate is wanted


class Tree:
    """A copy of the tree in *folder*, whose tests use the server at *url*."""

    def __init__(self, folder: Path, url: str) -> None:
        self._root = folder / "tree"
        self._url = url
        shutil.copytree(ROOT, self._root, ignore=_LEFT_OUT)
        # By its hash, because a file that is changed and put back within a second has its old time.
        for package in ("sweeper", "jobs"):
            compile_dir(
                self._root / package, quiet=2, invalidation_mode=PycInvalidationMode.CHECKED_HASH
            )

    def run(self, mutant: Mutant) -> Result:
        """Plant *mutant*, run its tests until the first fails, and take the fault out again."""
        began, file = time.monotonic(), self._root / mutant.file
        try:
            source = file.read_text("utf-8")
            mutated = mutant.planted(source)
        except (OSError, StaleError) as error:
            return Result(mutant, Fate.STALE, 0.0, why=str(error))
        file.write_text(mutated, "utf-8")
        try:
            fate, test, why = self.test(mutant.tests.split())
        finally:
            file.write_text(source, "utf-8")
        return Result(mutant, fate, time.monotonic() - began, test, why)

    def test(
        self, tests: list[str], timeout: float | None = _TIMEOUT
    ) -> tuple[Fate, str | None, str]:
        """Run *tests* until one fails; return what became of them, that test, and the output."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "--tb=short"]
        with subprocess.Popen(
            [*command, "-p", "no:cacheprovider", *tests],
            cwd=self._root,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, _ = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                return Fate.HUNG, None, f"no test failed within {timeout} s"
            finally:
                with suppress(ProcessLookupError):  # and whatever its tests have started
                    os.killpg(process.pid, SIGKILL)
        failed = _FAILED.search(said)
        if process.returncode == _RAN:
            return Fate.SURVIVED, None, said
        if process.returncode == _FOUND_FAILURES and failed:
            return Fate.KILLED, failed[1], said
        return Fate.BROKEN, None, said

    def _environment(self) -> dict[str, str]:
        foreign = ("SWEEPER_", "PYTEST_", "COVERAGE_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return kept | {
            "PYTHONPATH": str(self._root),
            "SWEEPER_TEST_DATABASE_URL": self._url,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they are slow to import, and none is needed
            "COLUMNS": "300",
        }
