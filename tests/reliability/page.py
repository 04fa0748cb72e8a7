"""The page docs/reliability.md: a table of all phases, their timelines, and others' figures."""

from collections.abc import Sequence
from pathlib import Path
from string import Template

from tests.bench.machine import machine
from tests.reliability.phases import WITHIN
from tests.reliability.run import Lengths, Result
from tests.reliability.site import PROCESSES
from tests.reliability.timeline import timelines
from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PAGE = "reliability.md"
PLOT = "reliability.svg"

_TEXT = Path(__file__).with_name("page.md")

HEADS = (
    "phase",
    "before /s",
    "during /s",
    "after /s",
    "recovered after",
    "wrong",
    "lost",
    "attempts",
    "crashes",
    "told",
)


def row(result: Result) -> tuple[str, ...]:
    """Return the cells of one phase, under HEADS."""
    if result.error:
        return (result.phase.title, *["-"] * 8, result.error.splitlines()[0])
    verdict = result.verdict
    recovered = "never" if result.recovered is None else f"{result.recovered:.1f} s"
    told = ", ".join(f"{event} {count}" for event, count in sorted(result.told.items()))
    rates = [f"{rate:.0f}" for rate in (result.before, result.during, result.after)]
    costs = (verdict.wrong, verdict.lost, verdict.attempts, verdict.crashes)
    return (result.phase.title, *rates, recovered, *map(str, costs), told or "nothing")


def page(results: Sequence[Result], lengths: Lengths, about: dict[str, str]) -> str:
    """Return the page."""
    table = [HEADS, ["---", *["--:"] * (len(HEADS) - 2), "---"], *map(row, results)]
    if not (found or late):
        return f"Every phase recovered within {WITHIN:.0f} s, or at the next call to the provider."
    lines = [f"- {title}: {' '.join(fault.split())[:400]}" for title, fault in found + late]
    return "
".join(["What did not hold:", "", *lines])


def write(results: Sequence[Result], lengths: Lengths, versions: dict[str, str]) -> Path:
    """Write the page and its plot into docs/."""
    (DOCS / PLOT).write_text(timelines(results), "utf-8")
    (DOCS / PAGE).write_text(page(results, lengths, {**machine(), **versions}), "utf-8")
    return DOCS / PAGE
