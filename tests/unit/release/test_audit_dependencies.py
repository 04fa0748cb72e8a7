"""The audit of the pins says whether they are clean, vulnerable, or were not audited at all."""

import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SCRIPT = ROOT / ".ci" / "audit-dependencies"
FOUND = """echo '{"dependencies": []}' > "$out"; echo "Found 1 known vulnerability"; exit 1"""
CLEAN = """echo '{"dependencies": []}' > "$out"; echo "No known vulnerabilities found"; exit 0"""
UNREACHABLE = "echo 'Failed to resolve the host' >&2; exit 1"


def audit(folder: Path, behaviour: str) -> "subprocess.CompletedProcess[str]":
    """Run the script with a pip-audit that writes its report and exits as *behaviour* says."""
    tool = folder / "pip-audit"
    tool.write_text(f'#!/bin/sh\nfor word; do out="$word"; done\n{behaviour}\n', "utf-8")
    tool.chmod(0o755)
    command = [SCRIPT, tool, folder / "audit.json"]
    return subprocess.run(command, check=False, text=True, capture_output=True)


@pytest.mark.parametrize(
    ("behaviour", "code", "said"),
    [
        (CLEAN, 0, "No known vulnerabilities found"),
        (FOUND, 1, "Found 1 known vulnerability"),
        (UNREACHABLE, 69, "NOT AUDITED"),
    ],
    ids=["clean", "found", "unreachable"],
)
def test_the_exit_code_says_what_the_audit_found(
    tmp_path: Path, behaviour: str, code: int, said: str
) -> None:
    ended = audit(tmp_path, behaviour)

    assert code == ended.returncode
    assert said in ended.stdout + ended.stderr


def test_an_old_report_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    audit(tmp_path, CLEAN)

    assert 69 == audit(tmp_path, UNREACHABLE).returncode
