"""The logging set-up: one stream for all log lines, as JSON for machines or coloured for people."""

import logging
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from sweeper import redact
from sweeper.event import INSTANCE
from sweeper.events import LIBRARY_LOGGED
from sweeper.humanize import visible

_VERBOSE_LIBRARIES = ("alembic", "apscheduler", "httpcore", "httpx", "sqlalchemy", "uvicorn")
_logged = Counter[tuple[str, str]]()
_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))


def configure(
    level: str, form: str, stream: TextIO = sys.stderr, secrets: Iterable[str] = ()
) -> None:
    """Send every log line, our own and the libraries', to *stream*.

    level   -- the lowest level that is logged
    form    -- console, json, or auto: console on a terminal, JSON lines elsewhere
    secrets -- values that are masked wherever they occur
    """
    redact.set_secrets(secrets)
    pretty = form == "console" or (form == "auto" and stream.isatty())
    preprocessors: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_leading_fields,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=preprocessors,
            processors=[
                structlog.processors.format_exc_info,
                _as_library_event,
                redact.line,
                _counted,
                _renderer(stream, pretty=pretty),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for library in _VERBOSE_LIBRARIES:
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # else a faulty line is printed with unmasked values
    threading.excepthook = _log_dead_thread
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *preprocessors,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def logged() -> Mapping[tuple[str, str], int]:
    """Return how many lines this process has logged, by event and level."""
    return _logged.copy()


def set_level(level: str) -> None:
    """Log what is at least at *level* from now on."""
    logging.getLogger().setLevel(level.upper())


def _renderer(stream: TextIO, *, pretty: bool) -> Processor:
    """Return the processor that renders a line: coloured for people, or as JSON."""
    if not pretty:
        return structlog.processors.JSONRenderer()
    # Not structlog's own tracebacks for the console: they show local variables, even phone numbers.
    console = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
    )

    def render(logger: Any, method: str, line: EventDict) -> str:
        """Render a line whose values a terminal does not obey."""
        shown = {
            name: visible(value) if isinstance(value, str) else value
            for name, value in line.items()
        }
        return console(logger, method, shown)

    return render


def _with_leading_fields(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Put the fields that every line has first, where people look for them."""
    head = {name: line.pop(name) for name in ("timestamp", "level", "event")}
    return {**head, "instance": INSTANCE, **line}


def _as_library_event(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Turn a library's line into the event library.logged; drop the formatter's own fields."""
    record, is_ours = line.pop("_record"), line.pop("_from_structlog")
    if is_ours:
        return line
    return {
        "timestamp": line["timestamp"],
        "level": next((name for least, name in _LEVELS if record.levelno >= least), "debug"),
        "event": LIBRARY_LOGGED.name,
        "instance": line["instance"],
        "logger": record.name,
        "said": line["event"],
        "exception": line.get("exception"),
    }


def _counted(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Count a line; the handler's lock lets one thread at a time come here."""
    _logged[line["event"], line["level"]] += 1
    return line


def _log_dead_thread(died: threading.ExceptHookArgs) -> None:
    """Log an exception that ended a thread, in one line."""
    logging.getLogger("threading").error("a thread died", exc_info=died.exc_value)
