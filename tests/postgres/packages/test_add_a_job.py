"""The tutorial docs/how-to/add-a-job.md, followed to the letter."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres.packages.page import assert_shown, blocks
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "how-to" / "add-a-job.md"
FILE = "jobs/remind_final_payment.py"
TESTS = "tests/domain/test_remind_final_payment.py"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Make a clone, as far as the page needs it, with the command on the path."""
    shutil.copytree(ROOT / "jobs", tmp_path / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = tmp_path / "bin" / "sweeper"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m sweeper "$@"\n', "utf-8")
    command.chmod(0o755)
    return tmp_path


def test_whoever_follows_the_page_has_the_job_that_is_shipped(
    clone: Path, database_url: str
) -> None:
    """Each command says what the page shows, and the file that was typed is ours, byte for byte."""
    path = [str(clone / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join(path),
        "PYTHONPATH": os.pathsep.join([str(clone), str(ROOT)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "200",
        "DATABASE_URL": database_url,
        "SWEEPER_STOCK__TAKEN_AT": "checkout",
    }
    typed, exported = list[str](), list[str]()
    for block in blocks(PAGE):
        if block.file == FILE:
            typed.append(block.content.strip("\n"))
            (clone / FILE).write_text("\n\n".join(typed) + "\n", "utf-8")
        elif block.kind == "sh":
            commands = block.content.replace("/tmp/", f"{clone}/")  # noqa: S108 -- the page's words
            ran = subprocess.run(
                ["bash", "-c", "\n".join(["set -o pipefail", *exported, commands])],
                cwd=clone,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
            assert 0 == ran.returncode, f"{commands}\n{ran.stdout}"
            assert_shown(block, ran.stdout)
            exported += re.findall(r"^export .*$", commands, re.MULTILINE)
    assert (ROOT / FILE).read_text("utf-8") == (clone / FILE).read_text("utf-8")


def test_the_test_on_the_page_is_one_of_ours() -> None:
    (shown,) = [block.content for block in blocks(PAGE) if block.file == TESTS]

    assert shown in (ROOT / TESTS).read_text("utf-8")
