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
    "given up",
    "attempts",
    "crashes",
    "told",
)


def row(result: Result) -> tuple[str, ...]:
    """Return the cells of one phase, under HEADS."""
    if result.error:
        return (result.phase.title, *["-"] * 9, result.error.splitlines()[0])
    verdict = result.verdict
    recovered = "never" if result.recovered is None else f"{result.recovered:.1f} s"
    told = ", ".join(f"{event} {count}" for event, count in sorted(result.told.items()))
    rates = [f"{rate:.0f}" for rate in (result.before, result.during, result.after)]
    costs = (
        verdict.wrong,
        verdict.lost,
        verdict.given_up,
        verdict.attempts,
        verdict.crashes,
    )
    return (result.phase.title, *rates, recovered, *map(str, costs), told or "nothing")


def page(results: Sequence[Result], lengths: Lengths, about: dict[str, str]) -> str:
    """Return the page."""
    table = [HEADS, ["---", *["--:"] * (len(HEADS) - 2), "---"], *map(row, results)]
    lines = "\n".join("| " + " | ".join(cells) + " |" for cells in table)
    facts = "\n".join(f"| {name} | {value} |" for name, value in about.items())
    return Template(_TEXT.read_text("utf-8")).substitute(
        processes=PROCESSES,
        rate=lengths.rate,
        before=f"{lengths.before:.0f}",
        fault=f"{lengths.fault:.0f}",
        plot=PLOT,
        table=lines,
        faults=_faults(results),
        machine=f"| | |\n| --- | --- |\n{facts}",
    )


def _faults(results: Sequence[Result]) -> str:
    """Return what was not as it must be, if anything was."""
    late = [
        (each.phase.title, f"recovered after {each.recovered:.1f} s, not {each.phase.within:.0f}")
        for each in results
        if each.recovered is not None and each.recovered > each.phase.within
    ]
    found = [(each.phase.title, fault) for each in results for fault in each.faults]
    if not (found or late):
        return f"Every phase recovered within {WITHIN:.0f} s."
    lines = [f"- {title}: {' '.join(fault.split())[:400]}" for title, fault in found + late]
    return "\n".join(["What did not hold:", "", *lines])


def write(results: Sequence[Result], lengths: Lengths, versions: dict[str, str]) -> Path:
    """Write the page and its plot into docs/."""
    (DOCS / PLOT).write_text(timelines(results), "utf-8")
    (DOCS / PAGE).write_text(page(results, lengths, {**machine(), **versions}), "utf-8")
    return DOCS / PAGE
