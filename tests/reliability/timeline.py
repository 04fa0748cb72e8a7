"""The timelines of all phases as one SVG: the rate of each second, with the fault as a band."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from tests.reliability.run import Result

_LEFT, _WIDTH, _RIGHT = 300, 440, 20
_ROW, _HEIGHT, _TOP = 40, 30, 40
_PEAK = 3.0  # times the rate before: what is higher is cut off

_STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2933 }
  .title { font-weight: 600; font-size: 15px }
  .rate { fill: none; stroke: #2364aa; stroke-width: 1.5 }
  .fault { fill: #d64545; opacity: 0.25 } .floor { stroke: #9aa5b1; stroke-width: 0.5 }
  @media (prefers-color-scheme: dark) { text { fill: #e4e7eb } .rate { stroke: #5fa8e8 } }
"""


def timelines(results: Sequence[Result]) -> str:
    """Return one row for each phase that was run; all have the same scale of time."""
    shown = [each for each in results if each.seconds]
    longest = max((len(each.seconds) for each in shown), default=1)
    height = _TOP + _ROW * len(shown) + 10
    title = "Jobs done in each second, around each fault"
    rows = "".join(_row(each, _TOP + _ROW * n, longest) for n, each in enumerate(shown))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img"'
        f' viewBox="0 0 {_LEFT + _WIDTH + _RIGHT} {height}">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n"
        f'<text class="title" x="8" y="22">{title}</text>\n{rows}</svg>\n'
    )


def _row(result: Result, top: int, longest: int) -> str:
    second = _WIDTH / longest
    peak = _PEAK * (result.before or 1.0)
    floor = top + _HEIGHT
    points = " ".join(
        f"{_LEFT + second * (n + 0.5):.0f},{floor - min(rate, peak) / peak * _HEIGHT:.0f}"
        for n, rate in enumerate(result.seconds)
    )
    begin, end = (_LEFT + second * at for at in result.fault)
    right = _LEFT + _WIDTH
    return (
        f'<text x="{_LEFT - 8}" y="{floor - 8}" text-anchor="end">'
        f"{escape(result.phase.title)}</text>\n"
        f'<rect class="fault" x="{begin:.0f}" y="{top}" width="{end - begin:.0f}"'
        f' height="{_HEIGHT}"/>\n'
        f'<line class="floor" x1="{_LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>\n'
        f'<polyline class="rate" points="{points}"/>\n'
    )
