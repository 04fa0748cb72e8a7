"""Every shell block of README and docs/ has who runs it, and names nothing that there is not."""

import re
from pathlib import Path

import pytest

from tests.pages import commands
from tests.pages.blocks import OTHERS, Block, blocks, pages, shell_blocks
from tests.support.paths import ROOT


def test_every_block_is_in_a_language_that_is_known() -> None:
    """A block in a language that nobody thought of would be neither run nor checked."""
    found = [block for page in pages() for block in blocks(page)]

    assert [] == [str(b) for b in found if not b.is_shell and b.language not in OTHERS]


def test_every_fence_is_found() -> None:
    for page in pages():
        fences = page.read_text("utf-8").count("```")
        assert (page, fences) == (page, 2 * len(blocks(page)))


def test_every_shell_block_has_a_runner_or_the_reason_why_it_has_none() -> None:
    runners = {block.runner for block in shell_blocks()} - {"here", "container", "nobody"}

    assert [] == [path for path in runners if not (ROOT / path).is_file()]
    assert [] == [str(b) for b in shell_blocks() if b.runner == "nobody" and len(b.reason) < 10]


@pytest.mark.parametrize("block", shell_blocks(), ids=str)
def test_a_block_names_commands_targets_and_files_that_there_are(block: Block) -> None:
    assert [] == commands.faults(block)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("sudo sweeper resme all", "No such command"),
        ("sweeper sweep --dryrun > plan.json", "No such option"),
        ("SWEEPER_A__B=1 sweeper dead retry; make tset", "no target tset"),
        ('eval "$(sweeper demo --kep)"', "No such option"),
        ("sh -c 'sweeper staus'", "No such command"),
        ("cat < docs/nowhere.md", "no file docs/nowhere.md"),
        ("cat << 'END'\nsweeper of words\nEND\nsweeper staus", "sweeper staus"),
        ("sweeper dead", "Missing command"),
        ("frobnicate docs/index.md", "no program"),
    ],
)
def test_what_there_is_not_is_noticed(text: str, fault: str) -> None:
    block = Block(ROOT / "README.md", 1, "sh", text, "nobody")

    assert fault in " ".join(commands.faults(block))


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_command_in_a_sentence_is_one_that_there_is(page: Path) -> None:
    """A sentence may leave out what a command is about, or name a group of commands."""
    text = re.sub(r"(?ms)^ *```.*?^ *```", "", page.read_text("utf-8"))

    found = [one for one in re.findall(r"`(sweeper [a-z][^`]*)`", text) if "..." not in one]
    lines = [Block(page, 1, "sh", one.replace("\n", " "), "nobody") for one in found]
    faults = [commands.faults(line) for line in lines]
    incomplete = re.compile("Missing parameter|Missing command")

    assert [] == [one for some in faults for one in some if not incomplete.search(one)]


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md", "systemd/README.md"])
def test_every_link_of_a_page_beside_docs_leads_to_something(page: str) -> None:
    """The site's strict build sees to those of docs/; anchors are those of headings."""
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"(?:\]\(|src=\"|srcset=\")([^)\"\s:]+)[)\"]", text)

    targets = [
        ((ROOT / page).parent / link.partition("#")[0], link.partition("#")[2]) for link in links
    ]
    assert [] == [str(path) for path, _ in targets if not path.exists()]
    assert [] == [name for path, name in targets if name and name not in anchors(path)]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    headings = re.findall(r"(?m)^#+ (.+)$", page.read_text("utf-8"))
    return {re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-")) for heading in headings}
