"""The generated pages of docs/reference/ are up to date, and leave nothing out."""

import re
from collections.abc import Callable

import pytest

import sweeper
from sweeper import catalog, settings
from sweeper.web.openapi import OPERATIONS
from tests.docs import docstring, metrics_page, settings_page
from tests.docs.commands_page import commands
from tests.docs.generated import FOLDER, PAGES
from tests.docs.schema import holds


def shown(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


@pytest.mark.parametrize(("name", "make"), PAGES.items(), ids=PAGES)
def test_a_generated_page_is_up_to_date(name: str, make: Callable[[], str]) -> None:
    """Contract: `make docs` generates the page again."""
    assert shown(name) == make()


def test_every_setting_has_a_meaning_and_a_kind() -> None:
    model = settings._model_of(catalog.load("jobs"))
    named = {
        f"{name}.{key}"
        for name, section in settings_page.sections(model)
        for key in section.model_fields
    }
    row = r"(?m)^\| `([\w.]+)`<br>`\w+` \| .+ \| .+<br>\*.+\* \|$"
    described = re.findall(row, shown("settings.md"))

    assert named == set(described)


def test_a_rule_that_the_file_does_not_have_is_described_all_the_same() -> None:
    """One new file: a rule needs no other."""
    fields = settings.RuleSettings.model_fields

    meanings = [settings_page.meaning(f"rules.toy.{key}", fields[key], {}) for key in fields]

    assert [
        "whether it is scanned",
        "between two scans",
        "how old a row is when it is due",
    ] == meanings


def test_a_setting_that_a_reload_takes_over_is_marked_so() -> None:
    marked = re.findall(r"(?m)^\| `([\w.]+)`.*; reload\* \|$", shown("settings.md"))

    assert sorted(settings.LIVE) == sorted(marked)


def test_every_alarm_stands_beside_a_metric() -> None:
    alarms = re.findall(r"- alert: (\w+)", (metrics_page.CONFIG / "alerts.yml").read_text("utf-8"))

    assert [] == [alarm for alarm in alarms if f"[{alarm}](" not in shown("metrics.md")]


def test_every_address_for_machines_has_a_section() -> None:
    sections = re.findall(r"(?m)^### ([A-Z]+ /\S+)$", shown("http-api.md"))

    assert {f"{one.method} {one.path}" for one in OPERATIONS} == set(sections)


def test_every_command_has_a_section() -> None:
    sections = re.findall(r"(?m)^### (sweeper\b.*)$", shown("commands.md"))

    assert sorted(each.name for each in commands().walk()) == sorted(["sweeper", *sections])


def test_everything_that_a_job_file_may_import_has_a_section_in_a_group() -> None:
    sections = re.findall(r"(?m)^### (\w+)$", shown("python.md"))

    assert sorted(sweeper.__all__) == sorted(sections)
    assert "## Others" not in shown("python.md")


def test_a_docstring_is_read_as_paragraphs_and_meanings() -> None:
    read = docstring.read(
        """Do *this*.

        one, two -- both of them,
                    in two lines
        three    -- another

        Raises an error.
        """
    )

    assert "Do `this`.\n\nRaises an error." == read.text
    assert {
        "one": "both of them, in two lines",
        "two": "both of them, in two lines",
        "three": "another",
    } == read.meanings


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 9}, "a whole number, 1 to 9"),
        ({"type": "integer", "minimum": 1, "maximum": 2**63 - 1}, "a whole number, at least 1"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "text or null"),
        ({"enum": ["a", "b", "c"]}, "`a`, `b` or `c`"),
        ({"type": "array", "items": {"type": "integer"}}, "a list of whole numbers"),
        ({"$ref": "#/components/schemas/Scan"}, "Scan"),
    ],
    ids=str,
)
def test_a_schema_is_put_in_words(schema: dict[str, object], words: str) -> None:
    assert words == holds(schema)
