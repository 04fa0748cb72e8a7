"""The pages of the help, and their examples as a shell would split them."""

import shlex
from functools import cache

from sweeper import catalog
from sweeper.cli.help.pages import Page, page
from sweeper.cli.main import tree

_ENDS = {"|", ">", ">>", "<", "&&", ";"}


@cache
def pages() -> tuple[Page, ...]:
    """Return the page of every command, the first one first."""
    return tuple(page(tree(catalog.load("jobs"))).walk())


def arguments(line: str) -> list[str]:
    """Return what a line hands to `sweeper`: without what the shell keeps to itself.

    A line of another program, such as systemctl, hands nothing over.
    """
    words = list(shlex.shlex(line, posix=True, punctuation_chars="|><;"))
    end = next((at for at, word in enumerate(words) if word in _ENDS), len(words))
    return words[1:end] if words[0] == "sweeper" else []
