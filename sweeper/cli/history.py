"""`sweeper history`: how things went in the last hour, day or month, as lines of small bars."""

from collections.abc import Sequence
from typing import Annotated

import typer

from sweeper.cli import output
from sweeper.cli.help import panels
from sweeper.cli.session import Json, open_app
from sweeper.cli.sparkline import ASCII, BLOCKS, can_draw_blocks, sparkline
from sweeper.durations import format_duration
from sweeper.monitoring.history import History, Period, Series
from sweeper.postgres.clock import now

COMMANDS = typer.Typer()

_FEWEST = 12  # characters of a line of bars; where there is room for less, it has its own line
_SPACE = "  "
_HEAD = ("", "lowest", "highest", "last")

EMPTY = """nothing is known of the last {period} yet
`sweeper run` records each minute when it is over, and what the ledger holds of the time before"""


@COMMANDS.command(rich_help_panel=panels.LOOK)
def history(
    context: typer.Context,
    period: Annotated[
        Period,
        typer.Argument(metavar="PERIOD", help="hour: 60 minutes; day: 24 hours; month: 30 days."),
    ] = Period.HOUR,
    ascii_: Annotated[
        bool, typer.Option("--ascii", help="Draw with ASCII, as where nothing else can be shown.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show how things went in the last hour, day or month.

    One line for each number, with the lowest, the highest and the last. A line begins with the
    oldest value, and its lowest bar stands for 0. A gap is a time of which nothing is known: the
    service did not run, or no job waited. A month ends with the last whole hour, the other periods
    end with the last whole minute.

    Counted from the ledger: the most rows that one scan has found; jobs that sweeps have sent, and
    those that were done; how long these waited from their scan on (half of them, and 95 %, at
    the most); retries of jobs that ended, and jobs that died; outbound jobs a minute.

    Sampled each minute, of which the highest is shown: overdue rows, how far the oldest is beyond
    its limit, messages that wait, dead letters, and what the job files add.

    Examples:
      sweeper history  # the last 60 minutes
      sweeper history day  # the last 24 hours
      sweeper history month --json  # 30 days, for a program
    """
    with open_app(context) as app:
        app.check()
        found = app.history.read(period, now())
    if as_json:
        output.document(found.as_json())
    elif found.is_empty:
        output.line(EMPTY.format(period=period))
    else:
        levels = ASCII if ascii_ or not can_draw_blocks() else BLOCKS
        output.line("\n".join(lines(found, output.width(), levels)))


def lines(found: History, width: int, levels: str = BLOCKS) -> list[str]:
    """Return the history as lines of no more than *width* characters, where that is possible."""
    rows = [_HEAD, *map(_row, found.series)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = width - sum(widths) - len(widths) * len(_SPACE)
    room = left if left >= _FEWEST else width
    bars = [sparkline([point.value for point in one.points], room, levels) for one in found.series]
    step = format_duration(found.period.step)
    told = [f"the last {found.period} to {found.until:%Y-%m-%d %H:%M} UTC, {step} a value"]
    for row, drawn in zip(rows, [" " * max(map(len, bars)), *bars], strict=True):
        if left >= _FEWEST:
            told.append(_joined(row, widths, drawn))
        else:
            told += [_joined(row, widths), drawn]
    return [line.rstrip() for line in told if line.strip()]


def _row(one: Series) -> tuple[str, str, str, str]:
    """Return what stands beside the bars of a series."""
    if not one.known:
        return one.label, "-", "-", "-"
    numbers = (min(one.known), max(one.known), one.known[-1])
    lowest, highest, last = map(one.shown, numbers)
    return one.label, lowest, highest, last


def _joined(row: Sequence[str], widths: Sequence[int], *bars: str) -> str:
    """Return one line: the label at the left, then the bars, and the numbers at the right."""
    label, *numbers = row
    right = (text.rjust(size) for text, size in zip(numbers, widths[1:], strict=True))
    return _SPACE.join([label.ljust(widths[0]), *bars, *right])
