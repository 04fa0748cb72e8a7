"""Print the demo: chapters, paragraphs and small tables, as plain text into a pipe."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

# The lines of the tables that commands print: dashes below the headings, and nothing else.
_LINES = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)

_out = Console(highlight=False)
_out.width = min(_out.width, 100)


def chapter(title: str) -> None:
    """Print the heading of a chapter."""
    _out.print()
    _out.rule(Text(title, "bold"), align="left", style="dim")


def say(*paragraphs: str) -> None:
    """Print paragraphs, each after a blank line."""
    for paragraph in paragraphs:
        _out.print()
        _out.print(paragraph, markup=False)


def show(lines: Iterable[str]) -> None:
    """Print commands, SQL or events without wrapping them, each line as soon as it is yielded."""
    _out.print()
    for line in lines:
        _out.print(f"  {line}", style="cyan", markup=False, soft_wrap=True)


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table; None is an empty cell."""
    grid = Table(*columns, box=_LINES, show_edge=False, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    _out.print()
    _out.print(Padding(grid, (0, 0, 0, 2), expand=False))
