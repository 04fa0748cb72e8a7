"""The catalog: it collects and validates what the files of a job package export."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sweeper import catalog
from sweeper.catalog import Catalog
from sweeper.errors import CatalogError, UsageError

PARTS = """
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar
from sqlalchemy import select
from sweeper import Figure, JobType, Payload, Rule, Section

class Parcel(Payload):
    parcel_id: str

class Harbour(Section):
    name: ClassVar[str] = "harbour"

def job(name):
    return JobType(name, payload=Parcel, key="parcel_id", handler=print)

def rule(name, of):
    hour = timedelta(hours=1)
    return Rule(name, job=of, due=lambda cutoff: select(), every=hour, older_than=hour)
"""

Load = Callable[..., Catalog]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Write a job package, one file for each keyword, and collect it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write_and_load(__init__: str = "", **files: str) -> Catalog:
        package = tmp_path / "harbour_jobs"
        package.mkdir()
        (package / "__init__.py").write_text(__init__)
        (package / "parts.py").write_text(PARTS)
        for name, text in files.items():
            (package / f"{name}.py").write_text(f"from harbour_jobs.parts import *\n{text}\n")
        return catalog.load("harbour_jobs")

    yield write_and_load
    for module in [name for name in sys.modules if name.split(".")[0] == "harbour_jobs"]:
        del sys.modules[module]


def test_the_exports_of_every_file_are_collected_by_name(load: Load) -> None:
    found = load(
        ship='JOB = job("SHIP")\nRULE = rule("late", JOB)\nSETTINGS = Harbour',
        land='JOB = job("LAND")',
    )

    expected = ({"SHIP", "LAND"}, {"late"}, {"harbour"})
    assert expected == (set(found.jobs), set(found.rules), set(found.sections))


def test_the_package_itself_may_export_too(load: Load) -> None:
    found = load(__init__='from harbour_jobs.parts import *\nJOB = job("SHIP")')

    assert {"SHIP"} == set(found.jobs)


def test_commands_are_named_after_their_file(load: Load) -> None:
    found = load(refunds='COMMANDS = "a command group"')

    assert {"refunds": "a command group"} == found.commands


def test_a_file_that_exports_nothing_is_accepted(load: Load) -> None:
    found = load(tables="JOBS = 1")

    assert ({}, {}, {}, {}) == (found.jobs, found.rules, found.sections, found.commands)


def test_a_value_that_another_file_imports_is_not_a_duplicate(load: Load) -> None:
    found = load(ship='JOB = job("SHIP")', zone="from harbour_jobs.ship import JOB")

    assert {"SHIP"} == set(found.jobs)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            'JOB = job("SHIP")',
            'JOB = job("SHIP")',
            r"two job files export a JOB named SHIP; the second is harbour_jobs\.b",
        ),
        (
            'JOB = job("A")\nRULE = rule("late", JOB)',
            'JOB = job("B")\nRULE = rule("late", JOB)',
            r"two job files export a RULE named late; the second is harbour_jobs\.b",
        ),
        (
            "SETTINGS = Harbour",
            'class Other(Section):\n    name: ClassVar[str] = "harbour"\nSETTINGS = Other',
            "harbour",
        ),
    ],
    ids=["JOB", "RULE", "SETTINGS"],
)
def test_two_values_with_the_same_name_are_refused(
    load: Load, first: str, second: str, message: str
) -> None:
    with pytest.raises(CatalogError, match=message):
        load(a=first, b=second)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('JOB = "SHIP"', r"harbour_jobs\.ship\.JOB is not a JobType"),
        ("JOB = JobType", r"harbour_jobs\.ship\.JOB is not a JobType"),
        ('JOB = job("SHIP")\nRULE = JOB', r"harbour_jobs\.ship\.RULE is not a Rule"),
        ('SETTINGS = {"cranes": 2}', r"harbour_jobs\.ship\.SETTINGS is not a Section"),
        ("SETTINGS = Parcel", r"harbour_jobs\.ship\.SETTINGS is not a Section"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused(load: Load, text: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        load(ship=text)


def test_a_section_cannot_have_the_name_of_a_built_in_section(load: Load) -> None:
    """Otherwise it would silently replace the built-in section."""
    text = 'class Queue(Section):\n    name: ClassVar[str] = "queue"\nSETTINGS = Queue'

    with pytest.raises(CatalogError, match="queue"):
        load(ship=text)


@pytest.mark.parametrize(
    "sent", ['job("SHIP")', 'job("LAND")'], ids=["an equal copy", "another type"]
)
def test_a_rule_cannot_enqueue_a_job_type_that_no_file_exports(load: Load, sent: str) -> None:
    with pytest.raises(CatalogError, match=r"rule late sends (SHIP|LAND), which no job file"):
        load(ship=f'JOB = job("SHIP")\nRULE = rule("late", {sent})')


def test_a_missing_package_is_reported_by_name() -> None:
    with pytest.raises(CatalogError, match="there is no job package 'no_such_jobs'"):
        catalog.load("no_such_jobs")


def test_an_error_in_a_job_file_is_not_a_missing_package(load: Load) -> None:
    told = "job file harbour_jobs.ship cannot be imported: ModuleNotFoundError: .*no_such_module"
    with pytest.raises(CatalogError, match=told):
        load(ship="import no_such_module")


def test_a_job_file_that_is_no_python_is_reported_by_name(load: Load) -> None:
    with pytest.raises(CatalogError, match="ship cannot be imported: Syntax"):
        load(ship="def")


def test_a_single_module_is_no_job_package() -> None:
    with pytest.raises(CatalogError, match="_types is a single module; a job"):
        catalog.load("tomllib._types")


def test_several_packages_are_one_catalog(load: Load) -> None:
    load(ship='JOB = job("SHIP")\nRULE = rule("late", JOB)')

    both = catalog.load("jobs", "harbour_jobs")

    assert ("jobs", "harbour_jobs") == both.packages
    assert {"SHIP", *catalog.load("jobs").jobs} == set(both.jobs)


# Collections: values that one job file collects from all.

GREETINGS = """
from dataclasses import dataclass
from sweeper import Collection

@dataclass(frozen=True)
class Greeting:
    name: str
    text: str

ALL = Collection("GREETINGS", Greeting, lambda one: [] if one.text else ["has no text"])
"""


def test_a_collection_holds_what_the_files_export_for_it(load: Load) -> None:
    found = load(
        parts_of=GREETINGS + "COLLECTS = (ALL,)",
        ship='from harbour_jobs.parts_of import *\nGREETINGS = (Greeting("ahoy", "Ahoy!"),)',
        zone='from harbour_jobs.parts_of import *\nGREETINGS = (Greeting("bye", "So long."),)',
    )

    module = sys.modules["harbour_jobs.parts_of"]
    assert ["harbour_jobs"] == list(found.packages)
    assert ["ahoy", "bye"] == list(module.ALL.values)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('GREETINGS = (Greeting("ahoy", ""),)', "harbour_jobs.ship: ahoy has no text"),
        ('GREETINGS = ("ahoy",)', "harbour_jobs.ship.GREETINGS holds what is not a Greeting"),
        ('AHOY = Greeting("ahoy", "Ahoy!")', "harbour_jobs.ship.AHOY is not in GREETINGS of its"),
        (
            'GREETINGS = (Greeting("ahoy", "1"), Greeting("ahoy", "2"))',
            "two GREETINGS are named ahoy; one is in harbour_jobs.ship",
        ),
    ],
)
def test_a_fault_of_a_collected_value_is_refused(load: Load, text: str, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        load(
            parts_of=GREETINGS + "COLLECTS = (ALL,)",
            ship=f"from harbour_jobs.parts_of import *\n{text}",
        )


# Dormant rules: off by default, and not switched on.


def test_a_dormant_rule_and_its_figures_are_not_awake(load: Load) -> None:
    found = load(
        ship="""
            JOB = job("SHIP")
            RULE = replace(rule("late", JOB), enabled=False)
            FIGURES = (Figure("ships", "ships", select(), rule="late"),)
        """.replace("\n            ", "\n"),
        land='JOB = job("LAND")\nRULE = rule("lost", JOB)\n',
    )

    assert (["late", "lost"], ["ships"]) == (sorted(found.rules), [f.name for f in found.figures])
    asleep, awake = found.awake({"lost"}), found.awake({"late"})
    assert ({"lost"}, ()) == (set(asleep.rules), asleep.figures)
    assert {"late", "lost"} == set(awake.rules), "one that was switched off has work that waits"
    assert found.figures == awake.figures


def test_a_catalog_error_has_the_exit_code_of_a_settings_error() -> None:
    assert 78 == CatalogError.exit_code


def test_the_error_for_an_unknown_job_type_lists_the_known_ones(load: Load) -> None:
    found = load(ship='JOB = job("SHIP")', land='JOB = job("LAND")')

    with pytest.raises(UsageError, match="there is no job type 'FLY'; there are LAND, SHIP"):
        found.job("FLY")


def test_the_error_for_an_unknown_rule_lists_the_known_ones(load: Load) -> None:
    found = load(ship='JOB = job("SHIP")\nRULE = rule("late", JOB)')

    with pytest.raises(UsageError, match="there is no rule 'early'; there are late"):
        found.rule("early")


def test_the_platforms_own_package_is_collected() -> None:
    """A new job file adds to these."""
    found = catalog.load("jobs")

    assert {"ORDER_AUTO_REFUND", "ORDER_EXPIRE_DP", "STOCK_RELEASE"} <= set(found.jobs)
    assert {"auto_refund", "expire_dp"} <= set(found.rules)
    assert {"stock", "whatsapp"} <= set(found.sections)
