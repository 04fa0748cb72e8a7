"""Markdown that a forge and the site show alike: tables, and names in code."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table, or none where it has no rows; a cell is one line."""
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in (list(head), *cells)]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]] if cells else []


def code(text: object) -> str:
    """Return *text* as code, or nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def either(words: Sequence[str]) -> str:
    """Return *words* as a list that ends with 'or'."""
    return " or ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def page(title: str, *parts: Iterable[str]) -> str:
    """Return a page of *parts*, each of them lines, with an empty line between two."""
    texts = ["\n".join(part) for part in ([f"# {title}"], *parts)]
    return "\n\n".join(text for text in texts if text) + "\n"
