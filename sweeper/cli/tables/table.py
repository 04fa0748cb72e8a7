"""A table: a grid where its rows fit the width, otherwise a block of lines for each of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.text import Text

from sweeper.cli.tables.column import Column, zone_of
from sweeper.cli.tables.folding import fold, longest_word, widths_for

_GAP = "  "
_MOST_LINES = 3  # of a row in a grid; what needs more is easier to read as a block


@dataclass(frozen=True)
class Table:
    """The rows of a list, under a title.

    Columns that are empty in all rows are left out. Nothing but a text is folded, and a text only
    between words, so that whatever is copied from it is whole. The title names the time zone.

    is_record -- it is one thing in full: a block at any width
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[object]]
    is_record: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Yield the lines, at the width that there is."""
        del console
        yield from self.lines(options.max_width)

    def lines(self, width: int) -> Iterator[Text]:
        """Yield the lines of the grid or of the blocks, in no more than *width* where possible."""
        if self.title:
            yield _line(self.title + self._zone, "bold")
        if not self._used:
            return
        widths = widths_for(self._used, self._cells, width - len(_GAP) * (len(self._used) - 1))
        if widths is None or self.is_record:
            yield from self._blocks(width)
            return
        folded = [
            [fold(cell, size) for cell, size in zip(row, widths, strict=True)]
            for row in self._cells
        ]
        if max(len(cell) for row in folded for cell in row) > _MOST_LINES:
            yield from self._blocks(width)
        else:
            yield from self._grid(widths, folded)

    @property
    def _zone(self) -> str:
        times = [value for row in self.rows for value in row if isinstance(value, datetime)]
        return f" (times in {zone_of(times)})" if times else ""

    @cached_property
    def _written(self) -> list[list[str]]:
        """Every cell as text."""
        return [
            [column.cell(value) for column, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    @cached_property
    def _filled(self) -> list[int]:
        """The places of the columns that are not empty in all rows."""
        every = range(len(self.columns))
        return [place for place in every if any(row[place] for row in self._written)]

    @cached_property
    def _used(self) -> list[Column]:
        return [self.columns[place] for place in self._filled]

    @cached_property
    def _cells(self) -> list[list[str]]:
        return [[row[place] for place in self._filled] for row in self._written]

    def _grid(self, widths: Sequence[int], folded: Sequence[Sequence[list[str]]]) -> Iterator[Text]:
        yield _line(self._joined([column.label for column in self._used], widths), "bold")
        yield _line(_GAP.join("-" * size for size in widths), "dim")
        for row in folded:
            for number in range(max(map(len, row))):
                parts = [cell[number] if number < len(cell) else "" for cell in row]
                yield _line(self._joined(parts, widths))

    def _joined(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        """Return one line of the grid, without spaces at its end."""
        padded = []
        for column, cell, size in zip(self._used, cells, widths, strict=True):
            room = " " * (size - cell_len(cell))
            padded.append(room + cell if column.is_number else cell + room)
        return _GAP.join(padded).rstrip()

    def _blocks(self, width: int) -> Iterator[Text]:
        """Yield a line for each value: its label, and at one place in all blocks the value."""
        indent = 2 + max(cell_len(column.label) for column in self._used)
        for place, row in enumerate(self._cells):
            if place:
                yield Text()
            for column, cell in zip(self._used, row, strict=True):
                if not cell:
                    continue
                room = max(width - indent, longest_word(cell) if column.folds else cell_len(cell))
                first, *more = fold(cell, room)
                label = f"{column.label}:".ljust(indent)
                yield Text.assemble((label, "bold"), first, no_wrap=True, overflow="ignore")
                yield from (_line(" " * indent + part) for part in more)


def _line(text: str, style: str = "") -> Text:
    return Text(text, style, no_wrap=True, overflow="ignore")
