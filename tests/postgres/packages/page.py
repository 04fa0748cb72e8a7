"""A page of the docs whose blocks a test writes, runs and compares."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of the page; shown is the output that stands below a block of commands."""

    kind: str
    file: str
    content: str
    shown: str = ""


def blocks(page: Path) -> Iterator[Block]:
    """Yield a page's blocks in order, each block of commands with its output."""
    text = page.read_text("utf-8")
    found = list(_BLOCK.finditer(text))
    for one, after in zip(found, [*found[1:], None], strict=True):
        follows = after and after[1] == "text" and not text[one.end() : after.start()].strip()
        yield Block(one[1], one[2] or "", one[3], after[3] if after and follows else "")


def assert_shown(block: Block, output: str) -> None:
    """Check that each line that the page shows is in the output, in this order."""
    rest = " ".join(output.split())
    for line in block.shown.splitlines():
        wanted = " ".join(line.split())
        if wanted in {"", "..."}:
            continue
        before, found, rest = rest.partition(wanted)
        assert found, f"{block.content}does not say {wanted!r} after\n{before[-200:]}\n\n{output}"
