"""Folding: the widths of the columns of a grid, and texts in lines, cut only between words."""

from collections.abc import Sequence

from rich.cells import cell_len

from sweeper.cli.tables.column import Column

_NARROWEST = 20  # of a column with folded text, unless all of it is shorter


def widths_for(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], room: int
) -> list[int] | None:
    """Return the width of each column so that all fit in *room*; None where they cannot.

    What is not folded has all that it needs, and the texts share what is left.
    """
    needed, least = list[int](), list[int]()
    for place, column in enumerate(columns):
        texts = [column.label, *(row[place] for row in cells)]
        most = max(map(cell_len, texts))
        needed.append(most)
        word = max(cell_len(column.label), *map(longest_word, texts))
        least.append(max(word, min(most, _NARROWEST)) if column.folds else most)
    left = room - sum(least)
    if left < 0:
        return None
    widths = least[:]
    for place in sorted(range(len(columns)), key=lambda place: needed[place] - least[place]):
        others = sum(needed[one] > widths[one] for one in range(len(columns)))
        more = min(needed[place] - least[place], left // max(1, others))
        widths[place] += more
        left -= more
    return widths


def longest_word(text: str) -> int:
    """Return the width of the longest word of *text*."""
    return max(map(cell_len, text.split(" ")), default=0)


def fold(text: str, width: int) -> list[str]:
    """Return *text* as lines of at most *width*, unless a word is longer; at least one line."""
    if cell_len(text) <= width:
        return [text]
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines
