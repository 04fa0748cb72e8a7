"""The commands as values: each with its usage, options and examples, read from typer's tree.

The help, the manual, shell completion and docs/reference/commands.md are made from these pages.
"""

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sweeper.cli.help.panels import OTHERS

_EXAMPLES = "\nExamples:\n"
_WORD = "  # "  # between an example and what it does


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or an option of a command.

    names       -- what is typed: --reason, or both of -h and --help; none for an argument
    value       -- the noun that stands for its value, in capitals; empty for a flag
    help        -- what it does
    default     -- the default as people read it; empty where there is none
    choices     -- the only values that are allowed; empty where any is
    is_required -- whether it must be given
    is_repeated -- whether it may be given several times
    is_file     -- whether its value is the name of a file
    """

    names: tuple[str, ...]
    value: str
    help: str
    default: str = ""
    choices: tuple[str, ...] = ()
    is_required: bool = False
    is_repeated: bool = False
    is_file: bool = False

    @property
    def heading(self) -> str:
        """What stands at the left of its line: --max N, or RULE."""
        return f"{', '.join(self.names)} {self.value}".strip()

    @property
    def usage(self) -> str:
        """How it stands in a line of usage: ORDER, or [RULE]..., or --reason TEXT."""
        shown = self.heading if self.is_required else f"[{self.heading}]"
        return f"{shown}..." if self.is_repeated else shown

    @property
    def meaning(self) -> str:
        """What it does, with its choices and its default."""
        parts = [self.help]
        if self.choices:
            parts.append(f"One of: {', '.join(self.choices)}.")
        if self.default:
            parts.append(f"[default: {self.default}]")
        elif self.names and self.is_required:
            parts.append("[required]")
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Example:
    """A line to type, and what it does."""

    line: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Page:
    """The help of one command.

    path        -- its words: sweeper, dead, list
    panel       -- the group in which the page above it shows it
    summary     -- its first sentence
    description -- all of its text, by paragraphs; the first begins with the summary
    commands    -- the pages of the commands below it
    """

    path: tuple[str, ...]
    panel: str
    summary: str
    description: tuple[str, ...]
    arguments: tuple[Parameter, ...]
    options: tuple[Parameter, ...]
    examples: tuple[Example, ...]
    commands: tuple["Page", ...]

    @property
    def name(self) -> str:
        """The whole command, as it is typed."""
        return " ".join(self.path)

    @property
    def usage(self) -> str:
        """What follows the name in a line of usage."""
        demanded = [option.usage for option in self.options if option.is_required]
        arguments = [argument.usage for argument in self.arguments]
        below = ["COMMAND [ARGS]..."] if self.commands else []
        return " ".join(["[OPTIONS]", *demanded, *arguments, *below])

    def walk(self) -> Iterator["Page"]:
        """Yield this page and all below it, in their order."""
        yield self
        for page in self.commands:
            yield from page.walk()


HELP = Parameter(("-h", "--help"), "", "Show this help.")


def page(command: Any, path: Sequence[str] = ("sweeper",)) -> Page:
    """Return the page of a command of typer's tree (`sweeper.cli.main.tree`), and all below it."""
    text, _, examples = inspect.cleandoc(command.help or "").partition(_EXAMPLES)
    paragraphs = tuple(" ".join(one.split()) for one in text.split("\n\n") if one.strip())
    shown = [each for each in command.params if not getattr(each, "hidden", False)]
    below = getattr(command, "commands", {}).items()
    return Page(
        path=tuple(path),
        panel=command.rich_help_panel or OTHERS,
        summary=_first_sentence(command.short_help or "".join(paragraphs[:1])),
        description=paragraphs,
        arguments=tuple(_parameter(each) for each in shown if _is_argument(each)),
        options=(*(_parameter(each) for each in shown if not _is_argument(each)), HELP),
        examples=tuple(_examples(examples)),
        commands=tuple(page(one, (*path, name)) for name, one in below if not one.hidden),
    )


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0].removesuffix(".")


def _examples(text: str) -> Iterator[Example]:
    for line in text.splitlines():
        typed, _, meaning = line.strip().partition(_WORD)
        if typed:
            yield Example(typed.strip(), meaning.strip())


def _is_argument(param: Any) -> bool:
    return bool(param.param_type_name == "argument")


def _parameter(param: Any) -> Parameter:
    is_argument, is_flag = _is_argument(param), getattr(param, "is_flag", False)
    kind = param.type_descriptor
    choices = kind.choices if kind.is_choice else None
    return Parameter(
        names=() if is_argument else tuple(sorted((*param.opts, *param.secondary_opts), key=len)),
        value="" if is_flag else param.metavar or param.name.strip("_").upper(),
        help=" ".join((param.help or "").split()),
        default="" if is_flag or callable(param.default) else _shown(param.default),
        choices=tuple(_shown(choice) for choice in choices or ()),
        is_required=bool(param.required),
        is_repeated=param.nargs == -1 or getattr(param, "multiple", False),
        is_file=bool(kind.is_file or kind.is_path),
    )


def _shown(value: Any) -> str:
    return "" if value is None else str(getattr(value, "value", value))
