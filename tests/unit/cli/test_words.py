"""One word for one thing: what people once stumbled over is said nowhere any more."""

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT

INSTEAD = {
    r"the brake (held|holds)|held by the brake": "stopped: too many orders due (limit N)",
    r"the books (do not )?balance": "no job lost or done twice",
    r"\blies dead\b": "is dead letter N",
    r"\bno rule knows\b": "the order no longer exists",
    r"\bis (no|not a) postgres url": "must begin with postgresql://",
    r"work off every": "process all waiting jobs",
    r"\bms (ahead|apart)\b": "clocks agree, or how they differ",
    r"\bin work\b": "in flight",
    r"\bqueued before\b": "already queued",
}
FOLDERS = (("sweeper", "*"), ("jobs", "*"), ("config", "*"), ("docs", "*.md"))
OTHERS = {"decisions.md", "mutants.md", "scale.md"}  # history, and what tests have written
CONTRACTS = {  # the words that documents keep
    "sweeper/monitoring/waiting_list.py": r"\bin work\b",
    "sweeper/web/v1/documents.py": r"\bin work\b",
    "docs/reference/http-api.md": r"\bin work\b",
}
TEXTS = {".py", ".html", ".js", ".toml", ".md", ".yml", ".json", ".mtail", ".sql"}


def pages() -> list[Path]:
    """Return every file with words for people."""
    found = [path for folder, name in FOLDERS for path in (ROOT / folder).rglob(name)]
    return sorted(p for p in found if p.suffix in TEXTS and p.name not in OTHERS)


@pytest.mark.parametrize("words", INSTEAD, ids=INSTEAD.values())
def test_what_people_stumbled_over_is_not_said(words: str) -> None:
    said = [
        f"{place}: {line.strip()}"
        for path in pages()
        if CONTRACTS.get(place := str(path.relative_to(ROOT))) != words
        for line in path.read_text("utf-8").splitlines()
        if re.search(words, line, re.IGNORECASE)
    ]

    assert [] == said
