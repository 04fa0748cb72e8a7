"""`sweeper completion`, `sweeper manual` and --version: what an installation puts in its places."""

import platform
from enum import StrEnum
from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.help import pages, panels
from sweeper.monitoring.version import DISTRIBUTION, version


class Shell(StrEnum):
    """A shell that completes what is typed."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


COMMANDS = typer.Typer()


@COMMANDS.command(rich_help_panel=panels.SET_UP)
def completion(
    context: typer.Context,
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="The shell.")],
) -> None:
    """Print the completion script for a shell.

    With it, a Tab offers commands, options, rules, queues and job types. `make install` puts it in
    its place for all users. It asks neither this program nor the database, so that it is quick;
    after a new rule, print it anew.

    Examples:
      sweeper completion bash > ~/.local/share/bash-completion/completions/sweeper  # for your bash
      sweeper completion zsh > "${fpath[1]}/_sweeper"  # for zsh, from the next one on
      sweeper completion fish > ~/.config/fish/completions/sweeper.fish  # for your fish
    """
    from sweeper.cli.help.completion import script  # noqa: PLC0415 -- only this command needs it

    known = context.find_root()
    output.line(script(shell, pages.page(known.command), known.obj["catalog"]))


@COMMANDS.command(rich_help_panel=panels.SET_UP)
def manual(context: typer.Context) -> None:
    """Print the manual of all commands as a man page.

    `make install` puts it in its place, for `man sweeper`.

    Examples:
      man sweeper  # read it, where it is installed
      sweeper manual | man -l -  # read it, where it is not
    """
    from sweeper.cli.help.manual import roff  # noqa: PLC0415 -- only this command needs it

    known = context.find_root()
    output.line(roff(pages.page(known.command), known.obj["catalog"]))


def _print_version(is_wanted: bool) -> None:  # noqa: FBT001 -- typer calls it
    if is_wanted:
        output.line(f"sweeper {version()} ({DISTRIBUTION}, Python {platform.python_version()})")
        raise typer.Exit


Version = Annotated[
    bool,
    typer.Option(
        "--version", "-V", is_eager=True, callback=_print_version, help="Print the version."
    ),
]
