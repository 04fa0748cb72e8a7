"""Charts: well-formed SVG of what is known, without style or script, and the same as a table."""

import re
from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweeper.monitoring.history import Point, Series
from sweeper.web.pages.charts import HEIGHT, WIDTH, draw, table, told
from tests.support.verbs import MINUTE, NOW

TAGS = {"svg", "title", "desc", "path", "text", "circle", "g"}
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = """</svg><script>alert("1")</script>&'\x1b[31m\u202e"""


def series(*values: float | None, label: str = "overdue") -> Series:
    """Return a series of one value a minute."""
    points = [Point(NOW + n * MINUTE, value) for n, value in enumerate(values)]
    return Series("overdue", label, "rows", "Overdue rows", points)


def parsed(*drawn: Series, title: str = "Overdue rows") -> ET.Element:
    """Return the SVG of the series, as a browser that knows its namespace reads it."""
    text = draw("picture-1", title, drawn).replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1)
    return ET.fromstring(text)  # noqa: S314 -- our own


def paths(svg: ET.Element, kind: str = "stroke") -> list[list[tuple[float, float]]]:
    """Return the lines of this kind, each as its points."""
    found = [path.get("d", "") for path in svg.iter(f"{SVG}path") if path.get("class") == kind]
    pairs = (re.findall(r"[ML]?([\d.]+) ([\d.]+)", path) for path in found)
    return [[(float(x), float(y)) for x, y in path] for path in pairs]


def test_the_highest_value_is_at_the_top_and_nought_at_the_bottom() -> None:
    (line,) = paths(parsed(series(0, 50, 100)))

    (bottom, middle, top) = [y for _, y in line]
    assert bottom == HEIGHT - 20
    assert middle == pytest.approx((bottom + top) / 2)
    assert 0 < top < middle
    assert [x for x, _ in line] == [4, WIDTH / 2, WIDTH - 4]


def test_a_gap_breaks_the_line_and_a_lone_value_is_a_dot() -> None:
    svg = parsed(series(1, 2, None, 3, None, 1, 1, 1))

    assert [2, 3] == [len(line) for line in paths(svg)]
    assert 1 == len([*svg.iter(f"{SVG}circle")])


@pytest.mark.parametrize("values", [[None, None], [0, 0], [float("nan"), 1, 1]])
def test_what_has_no_height_is_drawn(values: list[float | None]) -> None:
    assert parsed(series(*values)).tag == f"{SVG}svg"


def test_two_series_share_their_axis() -> None:
    svg = parsed(series(10, 10), series(5, 5))
    (second,), (first,) = [paths(group) for group in svg.iter(f"{SVG}g")]
    assert first[0][1] < second[0][1]
    assert ["line2", "line1"] == [group.get("class") for group in svg.iter(f"{SVG}g")]


def test_a_picture_has_a_name_and_a_description() -> None:
    svg = parsed(series(1, None, 3), title="Overdue rows")

    assert ("img", "picture-1-title picture-1-told") == (
        svg.get("role"),
        svg.get("aria-labelledby"),
    )
    texts = {e.get("id"): e.text for e in svg if e.tag in {f"{SVG}title", f"{SVG}desc"}}
    assert texts == {
        "picture-1-title": "Overdue rows",
        "picture-1-told": "overdue: from 1 to 3, last 3, 1 of 3 values not known",
    }
    assert "overdue: nothing is known" == told(series(None))


def test_texts_of_others_are_escaped_and_visible() -> None:
    """L11: no text of a job file becomes markup, nor steers what it is read on."""
    one = series(1, 2, label=HOSTILE)
    drawn = draw("picture-1", HOSTILE, [one])

    assert "<script" not in drawn
    assert {"\x1b", "\u202e"}.isdisjoint(drawn)
    assert parsed(one, title=HOSTILE).tag == f"{SVG}svg"


@given(st.lists(st.none() | st.floats(0, 1e15), min_size=1, max_size=200))
def test_any_series_is_drawn_within_its_frame(values: Sequence[float | None]) -> None:
    """The page's policy allows no style and no script within an element."""
    one = series(*values)
    svg = parsed(one)

    for element in svg.iter():
        assert element.tag in {
            SVG + tag for tag in ["svg", "title", "desc", "path", "text", "circle", "g"]
        }
        assert {"style", "onload", "href"}.isdisjoint(element.attrib)
    for line in paths(svg):
        assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in line)
        assert all(before[0] <= after[0] for before, after in pairwise(line))
    drawn = sum(map(len, paths(svg))) + len([*svg.iter(f"{SVG}circle")])
    assert drawn == len(one.known)


def test_the_table_has_the_same_numbers_the_latest_first() -> None:
    rows = table([series(1, None), series(1000, 2)])
    assert [(NOW + MINUTE, [None, "2"]), (NOW, ["1", "1,000"])] == rows
