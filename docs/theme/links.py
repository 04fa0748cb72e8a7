"""What the site has besides the pages in docs/: pages from elsewhere, and links to other files.

MkDocs calls these functions: https://www.mkdocs.org/user-guide/configuration/#hooks
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[2]

ADOPTED = {
    "changelog.md": "CHANGELOG.md",
    "model.md": "tests/model/README.md",
    "theme/mark.svg": "sweeper/web/pages/templates/mark.svg",
}
"""Files from outside docs/ that the site has too: their place there -> their place in the tree."""

_PAGES = {path: page for page, path in ADOPTED.items()}
_PART = re.compile(
    r"\[(?P<text>[^\]]*)\]\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)"
    r"|^(?P<indent> *)(?P<fence>```+|~~~+).*?^(?P=indent)(?P=fence)"
    r"|(?P<code>`[^`\n]*`)",
    re.MULTILINE | re.DOTALL,
)
"""A link to a file, or code: whichever begins first, so that a link in code is none."""

_log = logging.getLogger("mkdocs.hooks.links")


def on_config(config: Any) -> Any:
    """Leave out 404.html, which works at a known address only."""
    config.theme.static_templates.discard("404.html")
    return config


def on_files(files: Any, *, config: Any) -> Any:
    """Add what stands elsewhere in the tree."""
    for place, path in ADOPTED.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Any) -> str:
    """Return *markdown* as the site must have it, to show what a forge shows."""
    del files
    here = page.file.src_uri
    return _PART.sub(lambda part: _shown(part, here, config.extra.get("tree")), markdown)


def _shown(part: re.Match[str], here: str, tree: str | None) -> str:
    if part["path"]:
        return _on_the_site(part, here, tree)
    return _bare(part) if part["code"] else part[0]


def _bare(code: re.Match[str]) -> str:
    """Return code as it is, but in a table without the escapes that only a forge wants."""
    line = code.string[code.string.rfind("\n", 0, code.start()) + 1 : code.start()]
    return code[0].replace("\\|", "|") if line.startswith("|") else code[0]


def _on_the_site(link: re.Match[str], here: str, tree: str | None) -> str:
    """Return the link as the site has it.

    A page in docs/, and a file that the site has adopted, keep their links. Any other file is named
    by its path, and linked where *tree* says where a forge shows it. A file that is missing is a
    warning, which ends a strict build.
    """
    path = posixpath.normpath(posixpath.join(posixpath.dirname(_source(here)), link["path"]))
    anchor = link["anchor"] or ""
    target = _PAGES.get(path) or (path.startswith("docs/") and path.removeprefix("docs/"))
    if target:
        return (
            f"[{link['text']}]({posixpath.relpath(target, posixpath.dirname(here) or '.')}{anchor})"
        )
    if not (ROOT / path).exists():
        _log.warning("Doc file '%s' links to '%s', which is not in the tree.", here, link["path"])
    if tree:
        return f"[{link['text']}]({tree.rstrip('/')}/{path}{anchor})"
    shown = f"`{path}`"
    return shown if link["text"].strip("`") in path else f"{link['text']} ({shown})"


def _source(page: str) -> str:
    """Return where the source of *page* stands in the tree."""
    return ADOPTED.get(page, f"docs/{page}")
