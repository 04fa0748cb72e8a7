"""structlog, set up once: JSON lines for machines, colours for people, one pipe for everybody."""

import logging
import sys
import threading
from collections.abc import Iterable
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor

from sweeper import redact
from sweeper.event import INSTANCE
from sweeper.events import LIBRARY_LOGGED

_CHATTY = ("alembic", "apscheduler", "httpcore", "httpx", "sqlalchemy", "uvicorn")
_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"))


def configure(
    level: str, form: str, stream: TextIO = sys.stderr, secrets: Iterable[str] = ()
) -> None:
    """Send every log line, our own and the libraries', to *stream*.

    level   -- the least that is logged
    form    -- console, json, or auto: console on a terminal, JSON lines elsewhere
    secrets -- values that are masked wherever they turn up
    """
    redact.know(secrets)
    pretty = form == "console" or (form == "auto" and stream.isatty())
    headed: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _headed,
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=headed,
            processors=[
                structlog.processors.format_exc_info,
                _introduced,
                redact.line,
                _renderer(stream, pretty=pretty),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in _CHATTY:
        logging.getLogger(chatty).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # else a line with a fault is dumped on stderr, values and all
    threading.excepthook = _thread_died
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *headed,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _renderer(stream: TextIO, *, pretty: bool) -> Processor:
    """Return what turns a line into text: for people, or as JSON."""
    if not pretty:
        return structlog.processors.JSONRenderer()
    # Not structlog's own tracebacks for the console: they show local variables, phones among them.
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        exception_formatter=structlog.dev.plain_traceback,
        sort_keys=False,
    )


def _headed(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Put what every line has first, where eyes look for it."""
    head = {name: line.pop(name) for name in ("timestamp", "level", "event")}
    return {**head, "instance": INSTANCE, **line}


def _introduced(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Say who speaks, where a library does; drop what only the formatter had to know."""
    record, ours = line.pop("_record"), line.pop("_from_structlog")
    if ours:
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


def _thread_died(died: threading.ExceptHookArgs) -> None:
    """Have even what nobody caught told in one line."""
    logging.getLogger("threading").error("a thread died", exc_info=died.exc_value)
