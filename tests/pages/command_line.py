"""Parses command lines of ours as `sweeper` would, and runs nothing."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import typer

from sweeper import catalog
from sweeper.cli.main import COMMANDS


def parse(words: Sequence[str]) -> None:
    """Parse the words after `sweeper`; raises typer.TyperException where there is no such thing."""
    added = {group.name for group in COMMANDS.registered_groups}
    for name, group in catalog.load("jobs").commands.items():
        if name not in added:
            COMMANDS.add_typer(group, name=name)
    command: Any = typer.main.get_command(COMMANDS)
    with ExitStack() as opened:
        context = command.make_context("sweeper", list(words))
        opened.callback(context.close)
        while rest := [*getattr(context, "_protected_args", []), *context.args]:
            name, command, args = command.resolve_command(context, rest)
            context = command.make_context(name, list(args), parent=context)
            opened.callback(context.close)  # of the files that it names
