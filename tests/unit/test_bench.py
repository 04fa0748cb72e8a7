"""What the benchmark writes: a page and plots that anybody can read, and no name of a host."""

import platform
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.bench import __main__ as bench
from tests.bench.claims import claims
from tests.bench.contenders import ALL, FLOOR, LOOP, ONE, PEERS, TWO, Contender
from tests.bench.machine import machine
from tests.bench.page import PAGE, page, write
from tests.bench.runs import Counts, Run
from tests.bench.scale import __main__ as scale
from tests.bench.suite import DELAYS, QUICK, Results
from tests.bench.tables import Table
from tests.support.paths import ROOT


def run(name: str, rate: float) -> Run:
    """Return a run of 1000 orders that were sent in no time, and done one after the other."""
    orders = 1000
    done = [(n + 1) / rate for n in range(orders)]
    return Run(name, orders, orders / rate, orders / rate, done, 80.0, 10, 5_000_000, 3000, 0)


@pytest.fixture
def results() -> Results:
    results = Results(QUICK, machine(), ALL, ["awa"])
    for each, rate in ((FLOOR, 10_000.0), (ONE, 8_500.0), (PEERS[0], 2_000.0), (LOOP, 400.0)):
        results.runs[each.name] = [run(each.name, rate * spread) for spread in (0.9, 1.0, 1.2)]
        results.counts[each.name] = Counts(0.1, 0.02)
    for each, rate in ((TWO, 1_100.0), (LOOP, 1.0)):
        results.far[DELAYS[1], each.name] = [run(each.name, rate)]
    results.steady = (0.05, 0.09)
    return results


def test_the_page_has_medians_spreads_and_ratios(results: Results) -> None:
    text = page(results)

    assert "| engine, 1 process | 1,000 | 8,500 | 7,650 to 10,200 | 8,500 | 0.85 | 1.0 |" in text
    assert "| one at a time | 1,000 | 400 | 360 to 480 | 400 | 0.04 | 21.2 |" in text
    assert "| `sweeper run`, 50 messages a second | 50 ms | 90 ms |" in text
    assert "Left out, because not installed: awa." in text


def test_a_claim_holds_only_where_its_ratio_is_reached(results: Results) -> None:
    found = {claim.what: (round(claim.found, 2), claim.holds) for claim in claims(results)}

    assert {
        "one process / floor of the same effects": (0.85, True),
        "one process / best peer": (4.25, True),
        "one process / one at a time": (21.25, False),
        "two processes / 50 orders a second, 100 ms each way": (22.0, True),
        "two processes / one at a time, 100 ms each way": (1100.0, True),
    } == found


def test_the_page_comes_with_the_plots_that_it_shows(results: Results, tmp_path: Path) -> None:
    write(results, tmp_path)

    files = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    text = files.pop(PAGE)
    assert set(files) == {name for name in files if f"]({name})" in text}
    for svg in files.values():
        assert ET.fromstring(svg).tag.endswith("}svg")  # noqa: S314 -- our own


def test_nothing_names_the_host_or_its_folders(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is published says what the machine has, not which one it is."""
    monkeypatch.setattr(platform, "node", lambda: "secret-host")
    write(results, tmp_path)

    for path in tmp_path.iterdir():
        text = path.read_text("utf-8")
        assert (False, False) == (str(ROOT) in text, "secret-host" in text)


def test_contenders_are_chosen_by_a_part_of_their_names() -> None:
    assert [each for each in ALL if each.is_ours] == bench._chosen(["engine"])
    assert [FLOOR, LOOP] == bench._chosen(["floor", "one at"])
    with pytest.raises(SystemExit, match="floor, engine, 1 process"):
        bench._chosen(["nobody"])


def test_a_peer_that_is_not_installed_is_missing() -> None:
    assert Contender("peer", "module", "", package="no-such-queue").is_missing
    assert not Contender("ours", "module", "", package="psycopg").is_missing


def test_the_page_about_scale_gets_the_tables_in_their_places() -> None:
    """Only what was measured is replaced; every table has a place on the page."""
    table = Table("Readers", ("what", "ms"), [["`audit`", "7"]])
    before = scale.PAGE.read_text("utf-8")

    after = scale.written(before, {"readers": table})

    shown = "| what | ms |\n| --- | --: |\n| `audit` | 7 |\n"
    assert f"<!-- readers: measured -->\n\n{shown}\n<!-- readers: end -->" in after
    assert after == scale.written(after, {"readers": table})
    assert {*scale.PARTS, "machine"} == {
        name for name in (*scale.PARTS, "machine", "nobody") if f"<!-- {name}: end -->" in before
    }
