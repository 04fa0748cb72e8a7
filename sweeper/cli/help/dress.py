"""Gives every command our help, and lets none run whose job package could not be loaded."""

from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from sweeper.cli.help import pages, text


def dress(commands: typer.Typer) -> None:
    """Give *commands*, and all below, our help, also those that job files add with plain typer."""
    commands.info.cls = _Group
    for command in commands.registered_commands:
        command.cls = _Command
    for group in commands.registered_groups:
        group.cls = _Group
        if below := group.typer_instance:
            group.rich_help_panel = below.rich_help_panel  # typer itself drops it
            dress(below)


class _Command(TyperCommand):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(self, ctx, formatter)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse what was typed, with the command noted for an error."""
        _note(ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, but not without its jobs."""
        if fault := _note(ctx).get("fault"):
            raise fault
        return super().invoke(ctx)


class _Group(TyperGroup):
    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(self, ctx, formatter)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that is named, with the name noted for an error."""
        _note(ctx)
        return super().invoke(ctx)


def _note(ctx: Any) -> dict[str, Any]:
    """Note which command runs in what all commands share, and return that."""
    known: dict[str, Any] = ctx.ensure_object(dict)
    known["command"] = ctx.command_path
    return known


def _write(command: Any, ctx: Any, formatter: Any) -> None:
    known = (ctx.find_root().obj or {}).get("catalog")
    text.write(pages.page(command, ctx.command_path.split()), formatter, known)
