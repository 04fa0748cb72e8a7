"""The completion for a shell: static, so that a Tab costs no start of Python and no database."""

from sweeper.catalog import Catalog
from sweeper.cli.help.completion.bash import bash
from sweeper.cli.help.completion.fish import fish
from sweeper.cli.help.completion.places import places
from sweeper.cli.help.completion.zsh import zsh
from sweeper.cli.help.pages import Page

_SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}


def script(shell: str, page: Page, catalog: Catalog | None) -> str:
    """Return the completion of the commands below *page* for bash, zsh or fish."""
    return _SCRIPTS[shell](places(page, catalog))
