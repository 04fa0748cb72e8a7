"""The site: built strictly, readable offline, and with the pages as a forge shows them."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from tests.support.browser import Page, chromium
from tests.support.paths import ROOT

pytestmark = pytest.mark.skipif(
    find_spec("material") is None, reason="NO MKDOCS HERE: the site is NOT tested; make docs has it"
)

# Browsers let the keyboard into what scrolls by themselves; Material leaves it to them.
FOCUSED_ANYWAY = "scrollable-region-focusable"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
# What is wrong with a page, and what the build says of it.
FAULTS = {
    "[a page](nowhere.md)": "nowhere.md",
    "[a section](glossary.md#nowhere)": "#nowhere",
    "[a file](../sweeper/nowhere.py)": "'../sweeper/nowhere.py', which is not in the tree",
    "[an absolute address](/glossary.md)": "/glossary.md",
    "![a picture](nowhere.svg)": "nowhere.svg",
}


def build(tree: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of *tree* as `make docs` does; with -q, nothing would be strict."""
    command = [sys.executable, "-m", "mkdocs", "build", "-d", str(site)]
    environment = {"PATH": "", "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(
        command, cwd=tree, env=environment, capture_output=True, text=True, check=False
    )


def copy(folder: Path) -> Path:
    """Return a tree like this one, in which docs/ may be changed."""
    tree = folder / "tree"
    tree.mkdir()
    for path in ROOT.iterdir():
        if path.name not in {"docs", "site", ".git"}:
            (tree / path.name).symlink_to(path)
    shutil.copytree(ROOT / "docs", tree / "docs")
    return tree


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built site."""
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


def test_a_fault_of_a_page_fails_the_build(tmp_path: Path) -> None:
    tree = copy(tmp_path)
    with (tree / "docs" / "security.md").open("a") as page:
        page.write("\n\n" + "\n\n".join(FAULTS))
    (tree / "docs" / "stray.md").write_text("# A page that the navigation does not lead to\n")

    built = build(tree, tmp_path / "site")

    assert built.returncode
    assert [] == [told for told in (*FAULTS.values(), "stray.md") if told not in built.stderr]
    assert f"Aborted with {len(FAULTS) + 1} warnings in strict mode" in built.stdout


def test_a_link_that_leaves_docs_names_a_file_or_leads_to_a_forge(tmp_path: Path) -> None:
    tree = copy(tmp_path)
    links = "[ours](../Makefile), [`jobs`](../jobs), `[code](../Makefile)`, [words](glossary.md)"
    with (tree / "docs" / "security.md").open("a") as page:
        page.write(f"\n\n{links}\n")
    plain, linked = ((tmp_path / name) for name in ("plain", "linked"))
    forge = "https://forge.example/it/blob/main"

    built = build(tree, plain)
    settings = (tree / "mkdocs.yml").read_text("utf-8")
    (tree / "mkdocs.yml").unlink()
    (tree / "mkdocs.yml").write_text(settings.replace("\nextra:", f"\nextra:\n  tree: {forge}"))
    again = build(tree, linked)

    assert [0, 0] == [built.returncode, again.returncode]
    rest = '<code>[code](../Makefile)</code>, <a href="glossary.html">words</a>'
    assert f"ours (<code>Makefile</code>), <code>jobs</code>, {rest}" in shown(plain, "security")
    ours = f'<a href="{forge}/Makefile">ours</a>, <a href="{forge}/jobs"><code>jobs</code></a>'
    assert f"{ours}, {rest}" in shown(linked, "security")


def shown(site: Path, page: str) -> str:
    """Return the article of a page of *site*."""
    found = re.search(
        r"<article.*?</article>", (site / f"{page}.html").read_text("utf-8"), re.DOTALL
    )
    assert found
    return found[0]


TAGS = ["a", "blockquote", "code", "em", "h1", "h2", "h3", "h4", "img", "li", "ol", "pre"]
TAGS += ["strong", "table", "td", "th", "ul"]


class Outline(HTMLParser):
    """Counts the tags of a page, and keeps its words."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags = Counter[str]()
        self.words = list[str]()
        self._ignored = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Count a tag, unless it is what only a site has: a heading's link, or a block's file."""
        self._ignored = dict(attrs).get("class") in {"headerlink", "filename"}
        if tag in TAGS and not self._ignored and (tag != "a" or "href" in dict(attrs)):
            self.tags[tag] += 1

    def handle_data(self, data: str) -> None:
        """Keep the words of a text."""
        if not self._ignored:
            self.words += data.split()
        self._ignored = False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_has_on_the_site_what_a_forge_shows(page: Path, site: Path) -> None:
    """Two readers of Markdown differ: what one takes for a list, the other takes for text."""
    forge = Outline(MarkdownIt("commonmark").enable("table").render(page.read_text("utf-8")))
    ours = Outline(shown(site, str(page.relative_to(ROOT / "docs").with_suffix(""))))

    assert forge.tags == ours.tags
    assert "".join(forge.words) == "".join(ours.words)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_site_opens_from_a_file_and_fetches_nothing_from_elsewhere(
    site: Path, page: Page, width: int, scheme: str
) -> None:
    page.look(width=width, height=900, dark=scheme == "dark")

    for name in ("index", "architecture", "reference/settings", "explanation/life-of-a-job"):
        page.open(f"file://{site}/{name}.html")

        fetched = page.ask("performance.getEntriesByType('resource').map(each => each.name)")
        assert [] == [address for address in fetched if not address.startswith(f"file://{site}/")]
        assert width == page.ask("document.documentElement.scrollWidth")
        assert [] == [one for one in page.barriers() if not one.startswith(FOCUSED_ANYWAY)]
    assert [] == page.problems


def test_the_search_works_without_a_server(site: Path, page: Page) -> None:
    page.look(width=1280, height=900)
    page.open(f"file://{site}/index.html")

    page.ask(
        "(() => { const field = document.querySelector('[data-md-component=search-query]');"
        " field.focus(); field.value = 'max_per_sweep';"
        " field.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true})) })()"
    )

    page.until(
        "document.querySelector('.md-search-result__list')?.innerText.includes('safety.max_per_sweep')"
    )
