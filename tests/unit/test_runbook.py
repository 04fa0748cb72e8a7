"""The runbook: every alarm, event and page line that asks for a person leads to a section of it."""

import json
import re
import shlex
import tomllib
from typing import Any

import pytest
import typer

from sweeper import remedies
from sweeper.event import Event
from sweeper.remedies import REMEDIES, Remedy
from tests.pages.command_line import parse
from tests.support.log_schema import EVENTS
from tests.support.paths import ROOT

CONFIG = ROOT / "config" / "monitoring"
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text("utf-8")

# What stands for a number in a command, where the command line asks for one.
NUMBERS = {"ID": "7", "N": "7"}
ANNOTATIONS = {"summary", "description", "remedy", "runbook_url"}


def anchor(heading: str) -> str:
    """Return the anchor that Markdown gives a heading."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def sections() -> dict[str, str]:
    """Return each section's text by its anchor."""
    parts = re.split(r"(?m)^(##+) (.+)$", RUNBOOK)[1:]
    found = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return {anchor(heading): text for level, heading, text in found if level == "###"}


def alerts() -> dict[str, dict[str, str]]:
    """Return the annotations of each alert by its name."""
    blocks = (CONFIG / "alerts.yml").read_text("utf-8").split("- alert: ")[1:]
    return {
        block.split("\n")[0]: dict(re.findall(r"(?m)^ {10}(\w+): (.+)$", block)) for block in blocks
    }


def commands(text: str) -> list[str]:
    """Return the lines of a text's code blocks, without their remarks."""
    blocks = re.findall(r"(?ms)^```\n(.*?)^```", text)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]


def of_domain() -> set[Remedy]:
    return {event.remedy for event in EVENTS if event.remedy} - set(REMEDIES)


def known() -> dict[str, Remedy]:
    """Return all remedies, the engine's and the domain's, by their slugs."""
    found = {remedy.slug: remedy for remedy in (*REMEDIES, *of_domain())}
    return dict(sorted(found.items()))


def asks_for_a_person(event: Event) -> bool:
    """Return whether an operator has to do something; those with nothing to do say so first."""
    idle = re.match(r"(?:Mostly n|N)othing[.:]", event.action)
    return event.level in {"warning", "error"} and not idle


def words_of(command: str) -> list[str]:
    """Return the words after `sweeper`, with numbers where a number must stand."""
    return [NUMBERS.get(word, word) for word in shlex.split(command)[1:]]


each_alert = pytest.mark.parametrize("alert", alerts())
each_event = pytest.mark.parametrize("event", [pytest.param(e, id=e.name) for e in EVENTS])
each_remedy = pytest.mark.parametrize("remedy", [pytest.param(r, id=s) for s, r in known().items()])
all_commands = [*commands(RUNBOOK), *(remedy.command for remedy in known().values())]
ours = sorted({line for line in all_commands if line.startswith("sweeper ")})


def test_every_section_has_a_remedy_and_every_remedy_a_section() -> None:
    assert sorted(known()) == sorted(sections())
    assert len(known()) == len({*REMEDIES, *of_domain()})


@each_remedy
def test_a_section_says_what_you_see_what_it_means_and_what_to_do(remedy: Remedy) -> None:
    text = sections()[remedy.slug]

    assert ["You see", "It means"] == re.findall(r"(?m)^\*\*(You see|It means)\*\*", text)
    assert remedy.command == commands(text)[0]


@each_alert
def test_an_alert_has_a_command_to_type_and_a_section(alert: str) -> None:
    told = alerts()[alert]
    page, _, slug = told["runbook_url"].partition("#")

    assert ANNOTATIONS == told.keys()
    assert (remedies.RUNBOOK, known()[slug].command) == (page, told["remedy"])
    assert f"`{alert}`" in sections()[slug]


@each_event
def test_an_event_that_asks_for_a_person_has_a_command_and_a_section(event: Event) -> None:
    assert event.remedy or not asks_for_a_person(event)
    assert not event.remedy or f"`{event.name}`" in sections()[event.remedy.slug]


@each_event
def test_every_warning_and_every_error_stands_in_the_runbook(event: Event) -> None:
    """Also those that need nothing: who sees one must not have to guess that."""
    assert event.level not in {"warning", "error"} or f"`{event.name}`" in RUNBOOK


@each_event
def test_the_line_of_an_event_ends_with_its_remedy(event: Event) -> None:
    assert event.advice == (
        {"remedy": f"{event.remedy.command}; docs/runbook.md#{event.remedy.slug}"}
        if event.remedy
        else {}
    )


@each_remedy
def test_a_section_is_reached_by_an_alert_an_event_or_the_page(remedy: Remedy) -> None:
    of_alerts = {told["runbook_url"].partition("#")[2] for told in alerts().values()}
    of_events = {event.remedy.slug for event in EVENTS if event.remedy}

    assert remedy.slug in of_alerts | of_events


@pytest.mark.parametrize("command", ours)
def test_a_command_of_the_runbook_is_one_that_there_is(command: str) -> None:
    parse(words_of(command))


@pytest.mark.parametrize(
    "command", ["sweeper resme all", "sweeper sweep --dryrun", "sweeper sweep --max many"]
)
def test_a_command_that_there_is_not_is_noticed(command: str) -> None:
    with pytest.raises(typer.TyperException):
        parse(words_of(command))


def test_every_command_in_a_sentence_is_one_that_there_is() -> None:
    for command in re.findall(r"`(sweeper [^`]+)`", RUNBOOK):
        parse(words_of(command))


def test_the_runbook_asks_nobody_to_write_sql() -> None:
    assert "psql" not in RUNBOOK.lower()
    assert [] == re.findall(
        r"(?i)\b(?:select|delete|update|insert)\b.+\b(?:from|set|into)\b", RUNBOOK
    )


def test_every_link_within_the_runbook_has_its_section() -> None:
    assert set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOK)) <= sections().keys()


def test_the_runbook_is_installed_with_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]

    assert f"share/sweeper/{remedies.RUNBOOK}" == shared[remedies.RUNBOOK]


def test_a_remedy_names_the_installed_page_where_there_is_one(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    assert "docs/runbook.md#paused" == remedies.PAUSED.here
    page = tmp_path / "share" / "sweeper" / "docs" / "runbook.md"
    page.parent.mkdir(parents=True)
    page.touch()

    assert f"{page}#paused" == remedies.PAUSED.here


# The dashboard.


def panels() -> list[dict[str, Any]]:
    board = json.loads((CONFIG / "grafana.json").read_text("utf-8"))
    found: list[dict[str, Any]] = board["panels"]
    return found


def test_every_alert_has_a_panel_of_its_name_with_its_command_and_section() -> None:
    told = {
        panel["title"]: panel["description"] for panel in panels() if panel["title"] in alerts()
    }

    assert {
        alert: f"{known()[slug].command}; docs/runbook.md#{slug}"
        for alert, told in alerts().items()
        for slug in [told["runbook_url"].partition("#")[2]]
    } == told
