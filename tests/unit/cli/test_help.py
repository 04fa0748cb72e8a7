"""The help teaches: groups, whole summaries, nouns in capitals, examples that can be typed."""

import io
import re
from contextlib import redirect_stdout
from functools import cache
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from sweeper import catalog
from sweeper.cli.help import pages as help_pages
from sweeper.cli.help import panels
from sweeper.cli.help.dress import dress
from sweeper.cli.help.first_steps import EXIT_CODES, FIRST
from sweeper.cli.help.pages import Page
from sweeper.cli.main import tree
from sweeper.cli.session import BRAKE_HELD, SOME_JOB_RAISED
from sweeper.errors import DatabaseUnusableError, SettingsError, SweeperError, UsageError
from tests.unit.cli.examples import arguments, pages

LONGEST_SUMMARY = 64  # characters that fit beside the longest name at 80 columns

each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
each_command = pytest.mark.parametrize("page", pages()[1:], ids=lambda page: page.name)


@cache
def commands() -> Any:
    """Return the commands as `main` knows them."""
    return tree(catalog.load("jobs"))


def shown(*path: str, width: int = 80, known: bool = True) -> str:
    """Return what `--help` prints."""
    told = io.StringIO()
    with redirect_stdout(told), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        commands()(
            [*path, "--help"],
            prog_name="sweeper",
            obj={"catalog": catalog.load("jobs") if known else None},
            standalone_mode=False,
        )
    return told.getvalue()


def parsed(words: list[str]) -> Any:
    """Parse a command line without running it; return the context of the last command, closed."""
    name, command, context = "sweeper", commands(), None
    while True:
        context = command.make_context(name, words, parent=context)
        rest = [*context._protected_args, *context.args]
        if not (rest and getattr(command, "commands", None)):
            context.close()
            return context
        name, command, words = command.resolve_command(context, rest)


# Examples.


@each_command
def test_every_command_has_examples_each_with_a_word_about_it(page: Page) -> None:
    assert 2 <= len(page.examples) <= 4
    for example in page.examples:
        assert re.fullmatch(r"[a-z0-9][^.]{5,60}[^.]", example.meaning), example
        assert len(example.line) <= 78


@each_command
def test_every_example_is_of_its_command(page: Page) -> None:
    words = list(page.path[1:])
    own = [one.line for one in page.examples if arguments(one.line)]  # others: systemctl, man

    assert own
    assert [] == [line for line in own if words != _of(line, words)]


def _of(line: str, words: list[str]) -> list[str]:
    """Return the words of *line* that name a command."""
    return [word for word in arguments(line) if word in words][: len(words)]


@pytest.mark.parametrize(
    "line", [one.line for one in (*FIRST, *(e for page in pages() for e in page.examples))], ids=str
)
def test_every_example_can_be_parsed(
    line: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan.json").touch()
    monkeypatch.chdir(tmp_path)
    words = arguments(line)

    if words:
        assert parsed(words).command_path in {page.name for page in pages()}


# What a page looks like.


@each_page
def test_a_summary_is_one_whole_line(page: Page) -> None:
    assert 10 < len(page.summary) <= LONGEST_SUMMARY or len(page.path) == 1
    assert not page.summary.endswith(".")


@each_page
def test_help_fits_eighty_columns_and_cuts_nothing_off(page: Page) -> None:
    told = shown(*page.path[1:])

    assert [] == [line for line in told.splitlines() if len(line) > 80]
    assert "..." not in told.replace("[ARGS]...", "").replace("]...", "").replace('"..."', "")


@each_page
def test_every_noun_stands_in_capitals(page: Page) -> None:
    nouns = [one.value for one in (*page.arguments, *page.options) if one.value]

    assert [] == [noun for noun in nouns if not re.fullmatch("[A-Z]+", noun)]
    assert not re.search(r"[{}<]", shown(*page.path[1:]).split("\n")[0])


@each_page
def test_every_option_and_argument_says_what_it_does(page: Page) -> None:
    assert [] == [one for one in (*page.arguments, *page.options) if not one.help.endswith(".")]


def test_the_first_page_groups_the_commands_and_says_where_to_begin() -> None:
    told = shown()
    headings = re.findall(r"^(\S.*):$", told, re.MULTILINE)

    groups = [panel for panel in panels.PANELS if panel != panels.OTHERS]
    assert ["Type first", *groups, "Options", "Exit codes"] == headings
    assert "sweeper doctor" in told.partition("Start:")[0]


def test_every_exit_code_is_explained() -> None:
    kinds = (SweeperError, UsageError, DatabaseUnusableError, SettingsError)
    codes = {0, SOME_JOB_RAISED, BRAKE_HELD, 130, 143, *(kind.exit_code for kind in kinds)}

    assert codes == {int(code) for codes in EXIT_CODES for code in codes.split(", ")}


def test_help_has_no_colour_and_is_the_same_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = shown("sweep")
    monkeypatch.setenv("FORCE_COLOR", "1")

    assert plain == shown("sweep")
    assert "\x1b" not in plain


# The words that stand for a noun.


@pytest.mark.parametrize(
    ("command", "heading", "expected"),
    [
        ("sweep", "Rules", ["auto_refund", "expire_dp"]),
        ("enqueue", "Job types", ["ORDER_EXPIRE_DP", "takes orderId"]),
        ("list", "Lists", ["refunds", "state: "]),
        ("purge", "Queues", ["jastipin_jobs_dead"]),
        ("pause", "Targets", ["expire_dp", "jastipin_jobs_low", "outbound", "everything"]),
    ],
)
def test_help_lists_what_there_is(command: str, heading: str, expected: list[str]) -> None:
    part = shown(command).partition(f"\n{heading}:\n")[2].partition("\n\n")[0]

    assert [] == [word for word in expected if word not in part]


def test_help_works_where_the_job_package_cannot_be_loaded() -> None:
    assert "the job package cannot be loaded" in shown("sweep", known=False)


# Commands that others add.


def test_a_command_of_plain_typer_has_the_same_help() -> None:
    others = typer.Typer()

    @others.command()
    def greet(name: str) -> None:
        """Greet somebody, and say more about it than fits one line of eighty columns, or two.

        Examples:
          sweeper others greet ratih  # she is greeted
        """
        del name

    @others.command()
    def leave() -> None:
        """Leave."""

    top = typer.Typer(add_completion=False)
    top.add_typer(others, name="others", help="Of somebody else.")
    top.add_typer(typer.Typer(), name="empty")
    dress(top)

    made = help_pages.page(typer.main.get_command(top)).walk()
    (page,) = [one for one in made if one.path[-1] == "greet"]
    told = CliRunner().invoke(top, ["others", "--help"], terminal_width=80).output
    assert ("[OPTIONS] NAME", panels.OTHERS) == (page.usage, page.panel)
    assert "she is greeted" == page.examples[0].meaning
    assert "or two" in " ".join(told.split())


@each_command
def test_a_wide_terminal_gets_no_wider_text(page: Page) -> None:
    """Long lines are hard to read."""
    assert shown(*page.path[1:]) == shown(*page.path[1:], width=200)
