"""One JSON object a line: what every line has comes first, then the event's own fields."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import pytest
import structlog
from freezegun import freeze_time

from sweeper import events, logs
from sweeper.event import INSTANCE
from sweeper.events import LIBRARY_LOGGED
from tests.support import log_schema


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def pipe() -> io.StringIO:
    """Set the log up as the service has it under journald."""
    stream = io.StringIO()
    logs.configure("info", "auto", stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return what was logged; every line of it is valid by the schema."""
    return log_schema.lines(stream.getvalue())


def test_a_line_begins_with_what_every_line_has(pipe: io.StringIO) -> None:
    events.DATABASE_RECOVERED.log(seconds=1.5)

    (line,) = lines(pipe)
    assert ["timestamp", "level", "event", "instance", "seconds"] == list(line)


def test_a_line_says_what_happened_and_where(pipe: io.StringIO) -> None:
    events.DATABASE_RECOVERED.log(seconds=1.5)

    (line,) = lines(pipe)
    line.pop("timestamp")
    expected = {
        "level": "info",
        "event": "database.recovered",
        "instance": INSTANCE,
        "seconds": 1.5,
    }
    assert expected == line


def test_the_time_of_a_line_is_utc(pipe: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """L4: not even a host in Jakarta logs another time."""
    monkeypatch.setenv("TZ", "Asia/Jakarta")
    before = datetime.now(UTC)

    events.DATABASE_RECOVERED.log(seconds=1.5)

    (line,) = lines(pipe)
    at = datetime.fromisoformat(line["timestamp"])
    assert line["timestamp"].endswith("Z")
    assert timedelta(0) <= at - before < timedelta(minutes=1)


def test_the_time_of_a_line_is_the_clock_s(pipe: io.StringIO) -> None:
    with freeze_time("2026-01-31T12:00:00.123456Z"):
        events.DATABASE_RECOVERED.log(seconds=1.5)

    (line,) = lines(pipe)
    assert "2026-01-31T12:00:00.123456Z" == line["timestamp"]


def test_the_libraries_lines_go_through_the_same_pipe(pipe: io.StringIO) -> None:
    logging.getLogger("some.library").warning("gone %s", "wrong")

    (line,) = lines(pipe)
    assert ["timestamp", "level", "event", "instance", *LIBRARY_LOGGED.fields] == list(line)
    assert ("library.logged", "warning") == (line["event"], line["level"])
    assert ("some.library", "gone wrong", None) == tuple(map(line.get, LIBRARY_LOGGED.fields))


@pytest.mark.parametrize(
    ("level", "told"),
    [(5, "debug"), (10, "debug"), (25, "info"), (30, "warning"), (40, "error"), (50, "error")],
)
def test_a_library_s_level_becomes_one_of_ours(level: int, told: str) -> None:
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    logging.getLogger().setLevel(1)

    logging.getLogger("some.library").log(level, "hm")

    (line,) = lines(stream)
    assert told == line["level"]


def test_a_warning_of_python_itself_goes_through_the_same_pipe(pipe: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)

    (line,) = lines(pipe)
    assert "py.warnings" == line["logger"]
    assert "old ways" in line["said"]


def test_a_thread_that_dies_says_so_in_one_line(pipe: io.StringIO) -> None:
    thread = Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()

    (line,) = lines(pipe)
    assert ("error", "threading") == (line["level"], line["logger"])
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_a_line_with_a_fault_is_not_dumped_elsewhere(
    pipe: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """L11: logging's own complaint would show the values as they are."""
    logging.getLogger("some.library").warning("%d", "0812-0000-0001")

    assert ("", "") == (pipe.getvalue(), capsys.readouterr().err)


def test_an_exception_stays_on_its_line(pipe: io.StringIO) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("some.library").exception("boom")

    (line,) = lines(pipe)
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_a_traceback_on_a_terminal_shows_no_local_variable() -> None:
    """L11: what a function held when it failed may be anybody's phone."""
    terminal = Terminal()
    logs.configure("info", "auto", terminal)
    held = "Sari Wulandari"

    try:
        _ = 1 / (len(held) - 14)
    except ZeroDivisionError:
        logging.getLogger("some.library").exception("boom")

    assert "ZeroDivisionError: division by zero" in terminal.getvalue()
    assert "Wulandari" not in terminal.getvalue()


def test_a_text_of_two_lines_stays_on_its_line(pipe: io.StringIO) -> None:
    events.DATABASE_LOST.log(error="first\nsecond")

    (line,) = lines(pipe)
    assert "first\nsecond" == line["error"]


def test_a_value_that_is_no_json_is_written_as_text(pipe: io.StringIO) -> None:
    events.DATABASE_LOST.log(error=timedelta(seconds=2))

    (line,) = lines(pipe)
    assert "0:00:02" == line["error"]


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_what_is_less_than_the_level_is_not_logged(level: str, told: list[str]) -> None:
    stream = io.StringIO()
    logs.configure(level, "json", stream)

    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("sweeper"), name)("some.event")

    assert told == [json.loads(line)["level"] for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "library",
    ["alembic", "apscheduler.scheduler", "httpcore", "httpx", "sqlalchemy.engine", "uvicorn.error"],
)
def test_the_libraries_chatter_is_not_logged(library: str) -> None:
    stream = io.StringIO()
    logs.configure("debug", "json", stream)

    logging.getLogger(library).info("running")

    assert [] == lines(stream)


@pytest.mark.parametrize(
    ("form", "stream", "as_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("console", io.StringIO, False),
    ],
)
def test_machines_get_json_and_people_get_text(
    form: str, stream: type[io.StringIO], *, as_json: bool
) -> None:
    somewhere = stream()
    logs.configure("info", form, somewhere)

    events.DATABASE_RECOVERED.log(seconds=1.5)

    assert as_json == somewhere.getvalue().startswith("{")
    assert "database.recovered" in somewhere.getvalue()


def test_a_pipe_gets_no_colours() -> None:
    stream = io.StringIO()
    logs.configure("info", "console", stream)

    events.DATABASE_RECOVERED.log(seconds=1.5)

    assert "\x1b" not in stream.getvalue()


def test_set_up_twice_a_line_is_still_one_line(pipe: io.StringIO) -> None:
    logs.configure("info", "auto", pipe)

    events.DATABASE_RECOVERED.log(seconds=1.5)

    assert 1 == len(lines(pipe))
