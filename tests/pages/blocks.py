"""The shell blocks of a page, and what the page says about how each is run.

A block is run, in one shell with the other blocks of its page, unless a remark above its fence, or
one for the whole page, says otherwise:

    <!-- run: container -->              in the container with a real systemd
    <!-- checked, not run: REASON -->    only held against the commands and files that there are
    <!-- all run: container -->          for all blocks of the page that have no remark of their own
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

SHELLS = {"", "sh", "bash", "shell", "console"}
OTHERS = {
    *("css", "diff", "html", "http", "ini", "json", "mermaid", "promql", "python", "sql"),
    *("text", "toml", "yaml"),
}

# Pages without such remarks: the test of their own that runs their blocks, or why nobody does.
WHOLE_PAGES = {
    "docs/how-to/add-a-job.md": ("tests/postgres/packages/test_add_a_job.py", ""),
    "docs/how-to/add-a-migration.md": ("tests/postgres/packages/test_add_a_migration.py", ""),
    "docs/how-to/change-over.md": ("nobody", "the old worker must run beside it"),
}

_FENCE = re.compile(
    r"(?ms)^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```[ ]*$"
)
_REMARK = re.compile(r"<!-- (?P<all>all )?(?P<how>run|checked, not run): (?P<what>[^>]+?) -->")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page.

    line     -- where its fence begins, from 1
    language -- the word behind the fence
    runner   -- who runs it: here, container, the path of a test, or nobody
    reason   -- why nobody does
    """

    page: Path
    line: int
    language: str
    text: str
    runner: str
    reason: str = ""

    @property
    def is_shell(self) -> bool:
        """Whether it has commands for a shell."""
        return self.language in SHELLS

    def __str__(self) -> str:
        """Return where it stands, as an editor opens it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Return README and every page of docs/ and below."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    return list(_blocks(page, page.read_text("utf-8")))


def shell_blocks() -> list[Block]:
    """Return the shell blocks of all pages."""
    return [block for page in pages() for block in blocks(page) if block.is_shell]


def _blocks(page: Path, text: str) -> Iterator[Block]:
    everywhere = [found for found in _REMARK.finditer(text) if found["all"]]
    for fence in _FENCE.finditer(text):
        above = text[: fence.start()].rstrip().rpartition("\n")[2]
        own = _REMARK.fullmatch(above.strip())
        remark = own or (everywhere[0] if everywhere else None)
        language = (fence["language"].split() or [""])[0]
        inner = re.sub(rf"(?m)^{fence['indent']}", "", fence["text"])
        line = text.count("\n", 0, fence.start()) + 1
        yield Block(page, line, language, inner, *_runner(page, remark))


def _runner(page: Path, remark: "re.Match[str] | None") -> tuple[str, str]:
    if remark is None:
        return WHOLE_PAGES.get(page.relative_to(ROOT).as_posix(), ("here", ""))
    return (remark["what"], "") if remark["how"] == "run" else ("nobody", remark["what"])
