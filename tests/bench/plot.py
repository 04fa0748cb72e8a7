"""Plots as plain SVG: bars, with a line for the spread, in the colours of the reader's theme."""

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_WIDTH, _LEFT, _RIGHT = 760, 220, 90
_ROW, _BAR, _TOP = 26, 16, 44

_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2933 }
  .title { font-weight: 600; font-size: 15px }
  .value { font-variant-numeric: tabular-nums }
  .ours { fill: #2364aa } .other { fill: #9aa5b1 } .spread { stroke: #1f2933; stroke-width: 1.5 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e4e7eb } .ours { fill: #5fa8e8 } .other { fill: #616e7c }
    .spread { stroke: #e4e7eb }
  }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its value, and the lowest and highest of those that it stands for."""

    label: str
    value: float
    low: float
    high: float
    is_ours: bool


def bars(title: str, rows: Sequence[Bar]) -> str:
    """Return the SVG of *rows* on one linear scale from zero."""
    largest = max((row.high for row in rows), default=0.0) or 1.0
    scale = (_WIDTH - _LEFT - _RIGHT) / largest
    height = _TOP + _ROW * len(rows) + 8
    drawn = "".join(_bar(row, _TOP + _ROW * n, scale) for n, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n"
        f'<text class="title" x="8" y="24">{escape(title)}</text>\n{drawn}</svg>\n'
    )


def _bar(row: Bar, top: int, scale: float) -> str:
    middle, kind = top + _BAR / 2, "ours" if row.is_ours else "other"
    begin, end = _LEFT + row.low * scale, _LEFT + row.high * scale
    return (
        f'<text x="{_LEFT - 8}" y="{top + 13}" text-anchor="end">{escape(row.label)}</text>\n'
        f'<rect class="{kind}" x="{_LEFT}" y="{top}" height="{_BAR}" rx="2"'
        f' width="{max(row.value * scale, 1):.1f}"/>\n'
        f'<line class="spread" x1="{begin:.1f}" x2="{end:.1f}" y1="{middle}" y2="{middle}"/>\n'
        f'<text class="value" x="{end + 6:.1f}" y="{top + 13}">{row.value:,.0f}</text>\n'
    )
