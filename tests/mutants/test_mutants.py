"""The mutants: each fits the source as it is, stands on the page, and is seen by a test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants.areas import ALL, AREAS
from tests.mutants.mutant import Mutant, StaleError
from tests.mutants.page import names_on_the_page
from tests.mutants.suite import Suite, suite
from tests.mutants.tree import Fate
from tests.support.length import LONG
from tests.support.paths import ROOT

SOME = (
    "the handlers do not ask again whether an order is due",
    "messages are deleted apart from the work",
    "the brake is off",
    "crashes are not counted",
    "phone numbers are not masked",
)
CHOSEN = [mutant for mutant in ALL if LONG or mutant.name in SOME]
HARMLESS = Mutant(
    name="a docstring is another",
    law="contract",
    file="sweeper/retry.py",
    old='"""Run the job again once *delay* has passed."""',
    new='"""Run it again."""',
    tests="tests/unit/test_retry.py::test_a_rejected_job_is_dead_at_once",
)


@pytest.fixture(scope="module")
def planted() -> Iterator[Suite]:
    """Return what plants mutants, two at once."""
    with suite(2) as made:
        yield made


def test_every_mutant_fits_the_source_and_names_tests_that_there_are() -> None:
    assert [] == [fault for mutant in ALL for fault in mutant.faults(ROOT)]


def test_every_mutant_has_a_name_of_its_own() -> None:
    assert len(ALL) == len({mutant.name for mutant in ALL})


def test_every_file_of_mutants_is_an_area() -> None:
    assert len(AREAS) == len([*Path(__file__).with_name("planted").glob("*.py")])


def test_the_page_has_every_mutant() -> None:
    """It is written by `python -m tests.mutants --write`."""
    assert [mutant.name for mutant in ALL] == names_on_the_page()


def test_a_mutant_that_does_not_fit_any_more_is_stale() -> None:
    with pytest.raises(StaleError, match="0 times"):
        HARMLESS.planted("def another() -> None: ...\n")
    with pytest.raises(StaleError, match="2 times"):
        HARMLESS.planted(HARMLESS.old * 2)


def test_a_fault_that_no_test_sees_survives_and_is_taken_out_again(planted: Suite) -> None:
    before = (ROOT / HARMLESS.file).read_bytes()

    results = planted.run([HARMLESS, HARMLESS, HARMLESS])

    assert [Fate.SURVIVED] * 3 == [result.fate for result in results]
    assert before == (ROOT / HARMLESS.file).read_bytes()


def test_every_fault_is_seen_by_a_test(planted: Suite) -> None:
    """Some of them, and all at full length."""
    assert len(CHOSEN) == (len(ALL) if LONG else len(SOME))

    results = planted.run(CHOSEN)

    wrong = [(one.mutant.name, one.fate, one.why) for one in results if not one.is_well]
    assert [] == wrong
