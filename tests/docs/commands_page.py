"""The reference of the commands, from the same pages as their help and the manual."""

from collections.abc import Iterable, Iterator, Sequence

from sweeper import catalog
from sweeper.cli.help import nouns
from sweeper.cli.help import pages as help_pages
from sweeper.cli.help.first_steps import ENVIRONMENT, EXIT_CODES, FILES
from sweeper.cli.help.pages import Example, Page, Parameter
from sweeper.cli.help.text import by_panel
from sweeper.cli.main import tree
from tests.docs.markdown import code, page, table

_OPENING = """
`sweeper COMMAND --help` says the same at the prompt, and `man sweeper` where it is installed. What
is in capitals stands for what you type. Every command that reports takes `--json`: one document on
standard output, and nothing else there. Which command for which situation:
[Watch](../how-to/watch.md) and [Act](../how-to/act.md).
""".strip()


def commands_page() -> str:
    """Return docs/reference/commands.md."""
    first = commands()
    usage = f"```text\n{first.name} {first.usage}\n```"
    parts: list[Sequence[str]] = [[_OPENING], [usage], _parameters(first.options)]
    for panel, below in by_panel(first):
        parts.append([f"## {panel}"])
        for command in below:
            for one in command.walk():
                parts += _command(one)
    for title, head, words in (
        ("Exit codes", ("code", "means"), EXIT_CODES),
        ("Environment", ("variable", "means"), ENVIRONMENT),
        ("Files", ("file", "holds"), FILES),
    ):
        parts += [[f"## {title}"], table(head, [(code(one), said) for one, said in words.items()])]
    return page("Commands", *parts)


def commands() -> Page:
    """Return the first page of the help, with those of all commands below it."""
    return help_pages.page(tree(catalog.load("jobs")))


def _command(one: Page) -> Iterator[Sequence[str]]:
    yield [f"### {one.name}"]
    for paragraph in one.description:
        yield [paragraph]
    if one.commands:
        rows = [(f"[{each.name}](#{_anchor(each)})", each.summary) for each in one.commands]
        yield table(("command", "does"), rows)
    else:
        yield [f"```text\n{one.name} {one.usage}\n```"]
    yield _parameters((*one.arguments, *one.options[:-1]))  # the last one is --help
    for heading, words in nouns.sections(one, catalog.load("jobs")).items():
        rows = [(code(word), meaning) for word, meaning in words.items()]
        yield table((heading.lower(), "means"), rows)
    yield [_examples(one.examples)] if one.examples else []


def _parameters(parameters: Iterable[Parameter]) -> list[str]:
    rows = [(code(one.heading), one.meaning) for one in parameters]
    return table(("option", "does"), rows)


def _examples(examples: Sequence[Example]) -> str:
    """Return examples as a block, with what each does beside it."""
    width = max(len(one.line) for one in examples) + 2
    lines = [f"{one.line:{width}}# {one.meaning}" for one in examples]
    return "\n".join(["```text", *lines, "```"])


def _anchor(one: Page) -> str:
    return one.name.replace(" ", "-")
