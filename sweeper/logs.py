"""structlog, set up once: JSON lines for machines, colours for people, one pipe for everybody."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor

from sweeper.ledger import INSTANCE


def set_up(level: str, form: str, stream: TextIO = sys.stderr) -> None:
    """Send every log line, our own and the libraries', to *stream*.

    level -- the least that is logged
    form  -- console, json, or auto: console on a terminal, JSON lines elsewhere
    """
    pretty = form == "console" or (form == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _headed,
    ]
    ending: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
        if pretty
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for chatty in ("alembic", "apscheduler", "sqlalchemy"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _headed(_logger: object, _method: str, line: EventDict) -> EventDict:
    """Put what every line has first, where eyes look for it."""
    head = {name: line.pop(name) for name in ("timestamp", "level", "event")}
    return {**head, "instance": INSTANCE, **line}
