"""What is told of an error: in the first line what is wrong, in the last what to type next."""

import re
from typing import Any

from sweeper.cli.help import pages
from sweeper.errors import (
    ChangedError,
    DatabaseUnusableError,
    SettingsError,
    SweeperError,
    UsageError,
)

_NAMES_A_COMMAND = re.compile(r"\bsweeper [a-z]|\badd --[a-z]")
_NEXT: tuple[tuple[type[SweeperError], str], ...] = (
    (UsageError, "run: {command} --help"),
    (DatabaseUnusableError, "run: sweeper doctor"),
    (SettingsError, "then run: sweeper doctor"),
    (ChangedError, "run: sweeper status"),
)


def misspelled(error: Any, command: str) -> str:
    """Return what is told of one of typer's errors about what was typed after *command*."""
    context = getattr(error, "ctx", None)
    message = error.format_message().replace("Value error, ", "")
    if context is None:
        return f"sweeper: {message}\nrun: {command} --help"
    if message.startswith("Usage: "):  # nothing was typed: typer raises the help as an error
        return str(message).rstrip()
    if maybe := getattr(error, "possibilities", None):
        message = f"{error.message}. Did you mean {', '.join(sorted(maybe))}?"
    lines = [f"sweeper: {message}"]
    page = pages.page(context.command, context.command_path.split())
    if not (page.commands or hasattr(error, "possibilities")):
        lines.append(f"usage: {page.name} {page.usage}")
    return "\n".join([*lines, f"run: {page.name} --help"])


def failed(error: SweeperError, command: str) -> str:
    """Return what is told of *error*, with what to type next where it does not say so itself.

    command -- the command that failed, as it was typed: sweeper dead list
    """
    told = f"sweeper: {error}"
    if _NAMES_A_COMMAND.search(told.splitlines()[-1].removeprefix("sweeper: ")):
        return told
    following = next((what for kind, what in _NEXT if isinstance(error, kind)), "")
    following = following.format(command=command)
    is_of_use = following and not following.endswith(command)
    return f"{told}\n{following}" if is_of_use else told
