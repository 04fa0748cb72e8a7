"""What is told of an error: in the first line what is wrong, in the last what to type next."""

import re
from typing import Any

from sweeper.cli.help import pages
from sweeper.errors import DatabaseUnusableError, SettingsError, SweeperError, UsageError

_NAMES_A_COMMAND = re.compile(r"\bsweeper [a-z]|\bSWEEPER_|--[a-z]")
_NEXT: tuple[tuple[type[SweeperError], str], ...] = (
    (UsageError, "{command} --help"),
    (DatabaseUnusableError, "sweeper doctor"),
    (SettingsError, "sweeper doctor"),
)


def misspelled(error: Any) -> str:
    """Return what is told of one of typer's errors about what was typed."""
    context = getattr(error, "ctx", None)
    message = error.format_message()
    if context is None:
        return f"sweeper: {message}"
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
    return told if following in {"", command} else f"{told}\nrun: {following}"
