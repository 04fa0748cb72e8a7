"""Charts: a picture of one or two series as SVG, and their numbers as a table, without a script.

Colours and type are the style sheet's: the page allows no style within an element.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from html import escape

from sweeper.humanize import visible
from sweeper.monitoring.history import Point, Series

WIDTH, HEIGHT = 360, 128
_LEFT, _RIGHT, _TOP, _BOTTOM = 4, 4, 20, 20
_DOT = 2  # radius of a value that stands alone between two gaps
_A_DAY = timedelta(days=1)


def draw(name: str, title: str, series: Sequence[Series]) -> str:
    """Return the SVG of the series, which share their axes; the vertical one begins with 0.

    name -- an id of the picture that is unique on its page
    """
    most = max((value for one in series for value in one.known), default=0.0)
    points = series[0].points
    named = f'aria-labelledby="{name}-title {name}-told"'
    lines = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" {named}>',
        f'<title id="{name}-title">{_text(title)}</title>',
        f'<desc id="{name}-told">{_text("; ".join(map(told, series)))}</desc>',
    ]
    if most > 0:
        lines += _level(_y(most, most), series[0].shown(most))
    lines += _axis(points)
    for number, one in reversed([*enumerate(series, 1)]):
        lines.append(f'<g class="line{number}">{"".join(_drawn(one.points, most))}</g>')
    return "".join([*lines, "</svg>"])


def told(one: Series) -> str:
    """Return what the series is in words: its lowest, its highest and its last value."""
    if not one.known:
        return f"{one.label}: nothing is known"
    lowest, highest, last = map(one.shown, (min(one.known), max(one.known), one.known[-1]))
    gaps = sum(point.value is None for point in one.points)
    left_out = f", {gaps} of {len(one.points)} values not known" if gaps else ""
    return f"{one.label}: from {lowest} to {highest}, last {last}{left_out}"


def table(series: Sequence[Series]) -> list[tuple[datetime, list[str | None]]]:
    """Return the numbers of the series by their time, the latest first; None is not known."""
    rows = zip(*(one.points for one in series), strict=True)
    return [
        (
            row[0].at,
            [
                None if point.value is None else one.shown(point.value)
                for one, point in zip(series, row, strict=True)
            ],
        )
        for row in reversed([*rows])
    ]


def _drawn(points: Sequence[Point], most: float) -> Iterator[str]:
    """Yield the line, broken at each gap, and what lies below it."""
    for run in _runs(points):
        places = [(_x(at, len(points)), _y(value, most)) for at, value in run]
        if len(places) == 1:
            yield f'<circle cx="{places[0][0]:g}" cy="{places[0][1]:g}" r="{_DOT}"/>'
            continue
        path = "L".join(f"{x:g} {y:g}" for x, y in places)
        base = f"{_y(0, most):g}"
        below = f"M{places[0][0]:g} {base}L{path}L{places[-1][0]:g} {base}Z"
        yield f'<path class="below" d="{below}"/><path class="stroke" d="M{path}"/>'


def _runs(points: Sequence[Point]) -> Iterator[list[tuple[int, float]]]:
    """Yield the values between two gaps, each with its place in the series."""
    run = list[tuple[int, float]]()
    for number, point in enumerate(points):
        if point.value is not None and math.isfinite(point.value):
            run.append((number, point.value))
        elif run:
            yield run
            run = []
    if run:
        yield run


def _level(y: float, label: str) -> Iterator[str]:
    """Yield the line of the highest value, with the value."""
    yield f'<path class="level" d="M{_LEFT} {y:g}H{WIDTH - _RIGHT}"/>'
    yield f'<text x="{_LEFT}" y="{y - 6:g}">{_text(label)}</text>'


def _axis(points: Sequence[Point]) -> Iterator[str]:
    """Yield the line of 0, and the times at its begin, middle and end."""
    y = HEIGHT - _BOTTOM
    yield f'<path class="axis" d="M{_LEFT} {y}H{WIDTH - _RIGHT}"/>'
    length = points[-1].at - points[0].at
    for place, anchor in ((0, "start"), (len(points) // 2, "middle"), (len(points) - 1, "end")):
        at = _moment(points[place].at, length)
        x = _x(place, len(points))
        yield f'<text x="{x:g}" y="{HEIGHT - 5}" text-anchor="{anchor}">{at}</text>'


def _moment(at: datetime, length: timedelta) -> str:
    return f"{at.day} {at:%b}" if length > _A_DAY else f"{at:%H:%M}"


def _x(place: int, places: int) -> float:
    room = WIDTH - _LEFT - _RIGHT
    return round(_LEFT + room * place / max(1, places - 1), 1)


def _y(value: float, most: float) -> float:
    room = HEIGHT - _TOP - _BOTTOM
    share = max(0.0, value) / most if most > 0 else 0.0
    return round(HEIGHT - _BOTTOM - room * share, 1)


def _text(text: str) -> str:
    return escape(visible(text))
