"""Tables of commands: a grid where rows fit the width, otherwise blocks; no id is ever folded."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from sweeper.cli import output
from sweeper.cli.tables.column import Column
from sweeper.cli.tables.table import Table
from sweeper.exports import ColumnKind

KEYS = ("c3judrnheli2onauwkptgawrf", "c7ybkjf26skozpngvxiv6eiu6")
DIED = datetime(2026, 11, 30, 17, 5, 59, tzinfo=UTC)
ERROR = "payload: Input should be a valid dictionary or instance of SendWhatsapp"
COLUMNS = (
    Column("id", ColumnKind.NUMBER, str),
    Column("key", ColumnKind.KEY),
    Column("code", ColumnKind.KEY),
    Column("amount", ColumnKind.NUMBER, lambda rupiah: f"Rp {rupiah:,}".replace(",", ".")),
    Column("died at", ColumnKind.TIME),
    Column("waits", ColumnKind.TIME),
    Column("error"),
)
ROWS = [
    (7, KEYS[0], None, 200_000, DIED, timedelta(hours=2, minutes=30), ERROR),
    (12, KEYS[1], None, 5_000, DIED, timedelta(seconds=3), None),
]


@pytest.fixture
def jakarta(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put this host into another time zone."""
    monkeypatch.setenv("TZ", "Asia/Jakarta")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def lines(width: int, rows: list[tuple[object, ...]] | None = None) -> list[str]:
    """Return the lines of a table of *width*, without its title."""
    return [one.plain for one in Table("", COLUMNS, ROWS if rows is None else rows).lines(width)]


def test_a_table_that_fits_is_a_grid_without_its_empty_columns() -> None:
    assert [
        "id  key                            amount  died at           waits       error",
        "--  -------------------------  ----------  ----------------  ----------  " + 71 * "-",
        f" 7  {KEYS[0]}  Rp 200.000  2026-11-30 17:05  2 h 30 min  {ERROR}",
        f"12  {KEYS[1]}    Rp 5.000  2026-11-30 17:05  3 s",
    ] == lines(200)


def test_only_texts_are_folded_between_words() -> None:
    assert [
        "id  key                            amount  died at           waits       error",
        "--  -------------------------  ----------  ----------------  ----------  " + 27 * "-",
        f" 7  {KEYS[0]}  Rp 200.000  2026-11-30 17:05  2 h 30 min  payload: Input should be a",
        73 * " " + "valid dictionary or",
        73 * " " + "instance of SendWhatsapp",
        f"12  {KEYS[1]}    Rp 5.000  2026-11-30 17:05  3 s",
    ] == lines(100)


def test_a_row_that_does_not_fit_is_a_block_without_what_is_empty() -> None:
    assert [
        "id:      7",
        f"key:     {KEYS[0]}",
        "amount:  Rp 200.000",
        "died at: 2026-11-30 17:05",
        "waits:   2 h 30 min",
        "error:   payload: Input should be a valid dictionary or instance of",
        "         SendWhatsapp",
        "",
        "id:      12",
        f"key:     {KEYS[1]}",
        "amount:  Rp 5.000",
        "died at: 2026-11-30 17:05",
        "waits:   3 s",
    ] == lines(72)


@pytest.mark.parametrize("width", range(1, 161))
def test_what_is_copied_is_whole_at_every_width(width: int) -> None:
    shown = lines(width)

    for whole in (*KEYS, "Rp 200.000", "2026-11-30 17:05", "2 h 30 min", "SendWhatsapp"):
        assert any(whole in line for line in shown)
    longest = len("died at: ") + len(KEYS[0])
    assert max(map(len, shown)) <= max(width, longest)


def test_wide_characters_take_two_columns() -> None:
    table = output._table("", ["name", "state"], [("山田太郎", "paid"), ("Sari", "unpaid")])

    _, _, wide, narrow = (line.plain for line in table.lines(80))

    assert cell_len(wide[: wide.index("paid")]) == len(narrow[: narrow.index("unpaid")])


@pytest.mark.usefixtures("jakarta")
def test_a_table_names_the_zone_of_its_times_once() -> None:
    title, *shown = Table("letters", COLUMNS, ROWS).lines(200)

    assert "letters (times in WIB)" == title.plain
    assert 2 == sum("2026-12-01 00:05" in line.plain for line in shown)


def test_a_control_character_is_shown_as_an_escape() -> None:
    (*_, shown) = lines(200, [(1, "a\x1b[2Jb\nc", None, None, None, None, None)])

    assert shown.endswith(r"a\x1b[2Jb\nc")


def test_a_column_without_a_kind_has_that_of_its_values() -> None:
    table = output._table("", ["found", "at", "why"], [(1_502, DIED, "by hand"), (7, None, None)])

    assert [ColumnKind.NUMBER, ColumnKind.TIME, ColumnKind.TEXT] == [
        column.kind for column in table.columns
    ]


def test_an_empty_list_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    output.table("letters", COLUMNS, [], empty="No dead letters.")

    assert "No dead letters.\n" == capsys.readouterr().out


def test_a_pipe_has_no_limit_unless_columns_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    output.table("letters", COLUMNS, [(*ROWS[0][:6], (99 * "word ").strip())])
    wide = capsys.readouterr().out
    monkeypatch.setenv("COLUMNS", "80")
    output.table("letters", COLUMNS, ROWS)
    narrow = capsys.readouterr().out

    assert (99 * "word ").strip() in wide
    assert "error:   payload" in narrow
