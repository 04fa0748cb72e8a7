"""The completion scripts in their shells: real ones, asked as a person's Tab asks them."""

import os
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sweeper import catalog
from sweeper.cli.help.completion import script
from sweeper.cli.help.completion.places import quoted
from tests.unit.cli.examples import pages

RULES = sorted(catalog.load("jobs").rules)
QUEUES = [f"jastipin_jobs{lane}" for lane in ("", "_dead", "_high", "_low", "_outbound")]
TYPES = sorted(catalog.load("jobs").jobs)
REASONS = ["crashed", "exhausted", "invalid", "rejected", "unknown_type"]

SHELLS = [
    pytest.param(
        name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"needs {name}"), id=name
    )
    for name in ("bash", "zsh", "fish")
]
each_shell = pytest.mark.parametrize("shell", SHELLS)

_BASH = """
source {file}
COMP_WORDS=({words}) COMP_CWORD=$(( {count} - 1 ))
_sweeper
printf '%s\\n' "${{COMPREPLY[@]}}"
"""

# What zsh itself would offer is printed; the rest is the script's own.
_ZSH = """
compdef() {{ : }}
_describe() {{ local word; for word in ${{(P)4}}; do print -r -- ${{word%%:*}}; done }}
_files() {{ print -rl -- ${{PREFIX}}*(N) }}
compset() {{ PREFIX=${{PREFIX#*=}} }}
source {file}
words=({words}) CURRENT={count} PREFIX={last}
_sweeper
"""

_FISH = "source {file}; complete -C {line}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the script of each shell."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh", "fish"):
        (folder / shell).write_text(script(shell, pages()[0], catalog.load("jobs")))
    return folder


def offered(shell: str, folder: Path, line: str) -> list[str]:
    """Return what a shell offers at the end of *line*, sorted."""
    words = line.split(" ")
    typed = " ".join(quoted(word) for word in words)
    template = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}[shell]
    program = template.format(
        file=folder / shell,
        words=typed,
        count=len(words),
        last=quoted(words[-1]),
        line=quoted(line),
    )
    told = subprocess.run(
        [shell, "-c", program],
        check=True,
        text=True,
        capture_output=True,
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), "TERM": "dumb"},
    )
    assert "" == told.stderr
    found = [one.split("\t")[0] for one in told.stdout.splitlines() if one]
    return sorted(one for one in found if one.startswith(words[-1].rpartition("=")[2]))


@each_shell
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("sweeper swe", ["sweep", "sweeps"]),
        ("sweeper dead ", ["drop", "list", "retry", "show"]),
        ("sweeper sweep ", RULES),
        ("sweeper sweep expire_dp a", ["auto_refund"]),
        ("sweeper sweep --max 5 --dry-run e", ["expire_dp"]),
        ("sweeper --config some.toml sweep ", RULES),
        ("sweeper overdue ", RULES),
        ("sweeper sweeps --rule ", RULES),
        ("sweeper pause ", sorted([*RULES, *QUEUES[:1], *QUEUES[2:], "everything", "outbound"])),
        ("sweeper resume every", ["everything"]),
        ("sweeper purge ", QUEUES),
        ("sweeper waiting --queue ", QUEUES),
        ("sweeper enqueue ", TYPES),
        ("sweeper enqueue ORDER_EXPIRE_DP ", []),
        ("sweeper dead list --type ", TYPES),
        ("sweeper dead retry --reason ", REASONS),
        ("sweeper list ", ["refunds"]),
        ("sweeper explain ", []),
        ("sweeper sweep --pl", ["--plan"]),
        ("sweeper sweep --plan plan", ["plan.json"]),
        ("sweeper completion ", ["bash", "fish", "zsh"]),
    ],
)
def test_a_tab_offers_what_may_stand_there(
    shell: str, folder: Path, line: str, expected: list[str]
) -> None:
    (folder / "plan.json").touch()

    assert expected == offered(shell, folder, line)


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_completes_a_value_after_an_equals_sign(folder: Path) -> None:
    assert ["exhausted"] == offered("zsh", folder, "sweeper dead list --reason=ex")


def test_bash_completes_a_value_after_an_equals_sign(folder: Path) -> None:
    """It splits a word there, as COMP_WORDBREAKS says."""
    assert ["exhausted"] == offered("bash", folder, "sweeper dead list --reason = ex")


@each_shell
def test_every_command_is_offered(shell: str, folder: Path) -> None:
    expected = sorted(page.path[1] for page in pages() if len(page.path) == 2)

    assert expected == offered(shell, folder, "sweeper ")


@each_shell
def test_a_tab_is_quick(shell: str, folder: Path) -> None:
    """Neither Python nor the database is asked, as there is nobody on the PATH to ask."""
    began = time.monotonic()
    offered(shell, folder, "sweeper dead list --type ")

    assert time.monotonic() - began < 5


def test_a_word_that_a_shell_would_read_as_more_is_not_offered() -> None:
    known = catalog.load("jobs")
    rule = known.rules["expire_dp"]
    strange = replace(known, rules={"good": rule, "$(reboot)": rule, "two words": rule})

    for shell in ("bash", "zsh", "fish"):
        told = script(shell, pages()[0], strange)
        assert "good" in told
        assert "reboot" not in told
        assert "two words" not in told
