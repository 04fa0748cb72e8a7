"""What the phases measure and write: rates, the recovery, a page, and a plot that can be read."""

from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from jobs.send_whatsapp import NO_REPLY
from tests.reliability.measure import Timeline
from tests.reliability.page import HEADS, page
from tests.reliability.phases import PHASES
from tests.reliability.run import Lengths, Result
from tests.reliability.timeline import timelines
from tests.reliability.verdict import Verdict, given_up

# Ten jobs arrive each tenth of a second, for thirty seconds.
PLACED = [(n / 10, 10) for n in range(300)]


def done(*, pause: tuple[float, float] = (0.0, 0.0), rate: int = 100) -> Timeline:
    """Return a timeline in which all is done at once, but in a pause, and then at a rate."""
    times, ready = list[float](), 0.0
    for at, count in PLACED:
        for _ in range(count):
            begin = max(at + 0.05, ready)
            if pause[0] <= begin < pause[1]:
                begin = pause[1]
            ready = begin + 1 / rate if begin > at + 0.05 else begin
            times.append(begin)
    return Timeline(PLACED, sorted(times))


def test_a_fault_that_stops_nothing_is_recovered_from_at_once() -> None:
    line = done()

    assert 100 == pytest.approx(line.rate(10, 20), rel=0.02)
    assert 0.0 == line.recovered(2, 10, 18, 30)


def test_recovery_is_when_the_backlog_is_gone() -> None:
    """Eight hundred wait; four hundred a second are done, and one hundred arrive."""
    line = done(pause=(10.0, 18.0), rate=400)

    assert 0 == line.rate(10.1, 17.9)
    assert 800 == pytest.approx(line.backlog(18.0), abs=20)
    recovered = line.recovered(2, 10, 18, 30)
    assert recovered == pytest.approx(8 / 3, abs=0.5)


def test_what_never_catches_up_has_not_recovered() -> None:
    line = done(pause=(10.0, 18.0), rate=100)

    assert line.recovered(2, 10, 18, 28) is None


def test_what_stops_for_good_has_not_recovered() -> None:
    assert done(pause=(10.0, 100.0)).recovered(2, 10, 18, 28) is None


def test_a_notice_that_came_is_given_up_and_one_that_never_came_is_lost() -> None:
    not_sent = [
        ("u1", "JST-1", NO_REPLY),
        ("u2", "JST-2", NO_REPLY),
        ("u3", "JST-3", "refused"),
        ("u4", "JST-33", NO_REPLY),
    ]

    assert ["u1"] == given_up(not_sent, ["{'text': 'JST-1'}", "{'text': 'JST-3'}"])


def results() -> list[Result]:
    good = Result(PHASES[0], 100.0, 0.0, 101.0, 0.4, Verdict(due=2000), Counter({"job.dead": 1}))
    good.seconds, good.fault = [100.0] * 10, (3.0, 5.0)
    return [good, Result(PHASES[1], error="OSError: no <space>\nmore")]


def test_the_page_has_a_row_for_each_phase_also_for_one_that_could_not_be_run() -> None:
    text = page(results(), Lengths(), {"cores": "2"})

    assert "| " + " | ".join(HEADS) + " |" in text
    assert f"| {PHASES[0].title} | 100 | 0 | 101 | 0.4 s | 0 | 0 | 0 | 0 | 0 | job.dead 1 |" in text
    assert "| OSError: no <space> |" in text
    assert "What did not hold" in text
    assert "| cores | 2 |" in text


def test_the_page_says_that_everything_held() -> None:
    assert "What did not hold" not in page(results()[:1], Lengths(), {})


def test_the_plot_is_valid_xml_and_has_a_band_for_each_fault() -> None:
    root = ET.fromstring(timelines(results()))  # noqa: S314 -- our own text

    bands = [each for each in root.iter() if each.get("class") == "fault"]
    assert 1 == len(bands)


def test_the_names_of_the_phases_are_different() -> None:
    assert len(PHASES) == len({phase.name for phase in PHASES})
