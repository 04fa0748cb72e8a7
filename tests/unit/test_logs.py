"""Each log line is one JSON object: the common fields first, then the event's own fields."""

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
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Return true, as a terminal does."""
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Restore the root logger after the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def pipe() -> io.StringIO:
    """Configure the log as the service does under journald."""
    stream = io.StringIO()
    logs.configure("info", "auto", stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return what was logged; every line of it is valid by the schema."""
    return log_schema.lines(stream.getvalue())


def test_a_line_begins_with_the_common_fields(pipe: io.StringIO) -> None:
    events.DATABASE_RECOVERED.log(seconds=1.5)

    (line,) = lines(pipe)
    assert ["timestamp", "level", "event", "instance", "seconds"] == list(line)


def test_a_line_holds_its_level_event_instance_and_fields(pipe: io.StringIO) -> None:
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


def test_the_timestamp_of_a_line_is_utc(pipe: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """L4: the timestamp is UTC even on a host whose time zone is Jakarta's."""
    monkeypatch.setenv("TZ", "Asia/Jakarta")
    before = datetime.now(UTC)

    events.DATABASE_RECOVERED.log(seconds=1.5)

    (line,) = lines(pipe)
    at = datetime.fromisoformat(line["timestamp"])
    assert line["timestamp"].endswith("Z")
    assert timedelta(0) <= at - before < timedelta(minutes=1)


def test_the_timestamp_of_a_line_is_the_current_time(pipe: io.StringIO) -> None:
    with freeze_time("2026-01-31T12:00:00.123456Z"):
        events.DATABASE_RECOVERED.log(seconds=1.5)

    (line,) = lines(pipe)
    assert "2026-01-31T12:00:00.123456Z" == line["timestamp"]


def test_log_lines_of_libraries_get_the_same_format(pipe: io.StringIO) -> None:
    logging.getLogger("some.library").warning("gone %s", "wrong")

    (line,) = lines(pipe)
    assert ["timestamp", "level", "event", "instance", *LIBRARY_LOGGED.fields] == list(line)
    assert ("library.logged", "warning") == (line["event"], line["level"])
    assert ("some.library", "gone wrong", None) == tuple(map(line.get, LIBRARY_LOGGED.fields))


@pytest.mark.parametrize(
    ("level", "logged"),
    [(5, "debug"), (10, "debug"), (25, "info"), (30, "warning"), (40, "error"), (50, "error")],
)
def test_a_library_s_level_is_mapped_to_one_of_four_levels(level: int, logged: str) -> None:
    stream = io.StringIO()
    logs.configure("debug", "json", stream)
    logging.getLogger().setLevel(1)

    logging.getLogger("some.library").log(level, "hm")

    (line,) = lines(stream)
    assert logged == line["level"]


def test_a_python_warning_gets_the_same_format(pipe: io.StringIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", DeprecationWarning, stacklevel=1)

    (line,) = lines(pipe)
    assert "py.warnings" == line["logger"]
    assert "old ways" in line["said"]


def test_an_exception_that_ends_a_thread_is_logged_on_one_line(pipe: io.StringIO) -> None:
    thread = Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()

    (line,) = lines(pipe)
    assert ("error", "threading") == (line["level"], line["logger"])
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_a_line_that_cannot_be_formatted_is_not_printed_to_stderr(
    pipe: io.StringIO, capsys: pytest.CaptureFixture[str]
) -> None:
    """L11: the error report of the logging module would show the values unmasked."""
    logging.getLogger("some.library").warning("%d", "0812-0000-0001")

    assert ("", "") == (pipe.getvalue(), capsys.readouterr().err)


def test_an_exception_is_logged_on_one_line(pipe: io.StringIO) -> None:
    try:
        _ = 1 / 0
    except ZeroDivisionError:
        logging.getLogger("some.library").exception("boom")

    (line,) = lines(pipe)
    assert line["exception"].endswith("ZeroDivisionError: division by zero")


def test_a_traceback_on_a_terminal_shows_no_local_variables() -> None:
    """L11: a local variable of a function that failed may hold a phone number."""
    terminal = Terminal()
    logs.configure("info", "auto", terminal)
    held = "Sari Wulandari"

    try:
        _ = 1 / (len(held) - 14)
    except ZeroDivisionError:
        logging.getLogger("some.library").exception("boom")

    assert "ZeroDivisionError: division by zero" in terminal.getvalue()
    assert "Wulandari" not in terminal.getvalue()


def test_a_text_of_two_lines_is_logged_on_one_line(pipe: io.StringIO) -> None:
    events.DATABASE_LOST.log(error="first\nsecond")

    (line,) = lines(pipe)
    assert "first\nsecond" == line["error"]


def test_a_value_that_json_cannot_hold_is_logged_as_text(pipe: io.StringIO) -> None:
    events.DATABASE_LOST.log(error=timedelta(seconds=2))

    (line,) = lines(pipe)
    assert "0:00:02" == line["error"]


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_events_below_the_level_are_not_logged(level: str, logged: list[str]) -> None:
    stream = io.StringIO()
    logs.configure(level, "json", stream)

    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("sweeper"), name)("some.event")

    assert logged == [json.loads(line)["level"] for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize(
    "library",
    ["alembic", "apscheduler.scheduler", "httpcore", "httpx", "sqlalchemy.engine", "uvicorn.error"],
)
def test_info_lines_of_noisy_libraries_are_not_logged(library: str) -> None:
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
def test_a_pipe_gets_json_and_a_terminal_gets_text(
    form: str, stream: type[io.StringIO], *, as_json: bool
) -> None:
    output = stream()
    logs.configure("info", form, output)

    events.DATABASE_RECOVERED.log(seconds=1.5)

    assert as_json == output.getvalue().startswith("{")
    assert "database.recovered" in output.getvalue()


def test_a_pipe_gets_no_colours() -> None:
    stream = io.StringIO()
    logs.configure("info", "console", stream)

    events.DATABASE_RECOVERED.log(seconds=1.5)

    assert "\x1b" not in stream.getvalue()


def test_configuring_the_log_twice_does_not_duplicate_lines(pipe: io.StringIO) -> None:
    logs.configure("info", "auto", pipe)

    events.DATABASE_RECOVERED.log(seconds=1.5)

    assert 1 == len(lines(pipe))
