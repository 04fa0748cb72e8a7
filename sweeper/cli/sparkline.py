"""Sparklines: a series as one line of characters, as wide as there is room."""

import math
import sys
from collections.abc import Sequence

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-:=+*#"
GAP = " "


def can_draw_blocks() -> bool:
    """Return whether what is printed may hold more than ASCII."""
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def sparkline(values: Sequence[float | None], width: int, levels: str = BLOCKS) -> str:
    """Return *values* as characters, of which the lowest stands for 0; None leaves a gap.

    Where there are more values than *width*, one character stands for the highest of several.
    """
    together = max(1, math.ceil(len(values) / max(1, width)))
    parts = [_highest(values[at : at + together]) for at in range(0, len(values), together)]
    most = max((part for part in parts if part is not None), default=0.0)
    return "".join(_level(part, most, levels) for part in parts)


def _highest(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _level(value: float | None, most: float, levels: str) -> str:
    """Return the character for *value*; only 0, and what is less, is the lowest one."""
    if value is None:
        return GAP
    if value <= 0 or most <= 0:
        return levels[0]
    return levels[math.ceil(value / most * (len(levels) - 1))]
