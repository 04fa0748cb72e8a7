"""The page docs/how-to/add-a-migration.md: its two migrations, run after all others."""

import shutil
import subprocess
import sys
from pathlib import Path

from sqlalchemy import Connection, text

from sweeper import catalog
from sweeper.admin.migrate import heads
from tests.postgres.packages.page import Block, assert_shown, blocks
from tests.support.paths import ROOT


def numbered(content: str, history: str) -> str:
    """Return a block with the history's next and last number in place of NNNN and MMMM."""
    (last,) = [head for head in heads(catalog.load("jobs").packages) if head.startswith(history)]
    number = int(last[-4:])
    return content.replace("NNNN", f"{number + 1:04}").replace("MMMM", f"{number:04}")


def test_the_migrations_of_the_page_are_run(
    tmp_path: Path, database_url: str, connection: Connection
) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    for package in ("sweeper", "jobs"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignored)
    found = list(blocks(ROOT / "docs" / "how-to" / "add-a-migration.md"))
    for block in found:
        if block.file:
            history = "engine" if "engine" in block.file else "jobs"
            path = tmp_path / numbered(block.file, history)
            path.write_text(numbered(block.content, history), "utf-8")
    (commands,) = [block for block in found if block.kind == "sh"]

    ran = subprocess.run(
        ["bash", "-ec", f'sweeper() {{ "{sys.executable}" -m sweeper "$@"; }}\n{commands.content}'],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "DATABASE_URL": database_url, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )

    shown = numbered(commands.shown.replace("jobs_NNNN", numbered("jobs_NNNN", "jobs")), "engine")
    assert_shown(Block("sh", "", commands.content, shown), ran.stdout)
    connection.execute(text("select ended_by from sweeper.job_log"))
    connection.execute(text("select order_id, at from sweeper.no_reminder"))
