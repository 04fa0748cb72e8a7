"""Acts: what people did by hand, each written down, with its effect where that is possible.

Rows are only ever added. An act of one transaction is one row, which commits with its effect. An
act of many transactions is written down as begun, then with the keys of each of its parts, in the
part's own transaction, then with its end: whatever kills it, what it did stays written down.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import BigInteger, Column, Connection, Identity, Insert, Integer, Table, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.exc import SQLAlchemyError

from sweeper import events, redact
from sweeper.errors import DatabaseUnusableError, UsageError
from sweeper.event import INSTANCE
from sweeper.humanize import in_line
from sweeper.ledger import METADATA
from sweeper.postgres import deferred
from sweeper.postgres.database import Database
from sweeper.postgres.errors import in_one_line, is_disconnected

_NAME, _TEXT = 200, 1_000  # characters of a subject, an actor, a reason or a key; of a detail
_KEYS = 1_000  # keys in one row
_LISTED = 100  # ids that a detail names


class Action(StrEnum):
    """What people do by hand."""

    SWEEP = "sweep"
    DRY_RUN = "dry_run"
    DRAIN = "drain"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"
    DROP = "drop"
    SETTLE = "settle"
    ENQUEUE = "enqueue"
    MIGRATE = "migrate"
    PURGE = "purge"


class Origin(StrEnum):
    """From where it was asked for: a command, the page, the API, a unit of systemd, a signal."""

    COMMAND = "command"
    PAGE = "page"
    API = "api"
    UNIT = "unit"
    SIGNAL = "signal"


class ActOutcome(StrEnum):
    """What became of an act, or what a row of it is: its begin, or a part that has committed."""

    BEGUN = "begun"
    PART = "part"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"


ACT = Table(
    "act",
    METADATA,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("begun", BigInteger),
    Column("at", TIMESTAMP(timezone=True), nullable=False, server_default=func.now()),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("reason", Text),
    Column("outcome", Text, nullable=False),
    Column("detail", Text),
    Column("duration_ms", Integer),
    Column("keys", ARRAY(Text)),
)


@dataclass(frozen=True, slots=True)
class By:
    """Who acts, and from where."""

    actor: str
    origin: Origin


class Act:
    """One act while it goes on; `Acts.recording` yields it."""

    def __init__(
        self, database: Database, action: Action, subject: str, by: By, reason: str | None
    ) -> None:
        self._database = database
        self._started = time.monotonic()
        self._what = {
            "action": action.value,
            "subject": _kept(subject, _NAME),
            "actor": _kept(by.actor, _NAME),
            "origin": by.origin.value,
            "reason": _kept(reason, _NAME) if reason and reason.strip() else None,
        }
        self._begun: int | None = None
        self._is_warned = self._has_begun = self._is_written = False
        self._outcome, self._detail = ActOutcome.DONE, ""

    def begin(self) -> None:
        """Write down that an act of many transactions begins; call it when nothing is changed."""
        self._has_begun = True
        try:
            with self._database.transaction() as tx:
                row = self._row(ActOutcome.BEGUN).returning(ACT.c.id)
                self._begun = tx.execute(row).scalar_one()
        except SQLAlchemyError as error:
            self._warn(error)

    def part(self, tx: Connection, keys: Iterable[str | None]) -> None:
        """Write down, in the transaction of a part of a begun act, whose jobs it concerns."""
        if self._begun is not None:
            deferred.defer(tx, self._row(ActOutcome.PART, keys=keys))

    def done(self, tx: Connection, detail: str, keys: Iterable[str | None] = ()) -> None:
        """Write down an act of one transaction in that transaction, after its effect."""
        self.finish(detail)
        deferred.send(tx)  # so that an error of the effect is not taken for one of the record
        try:
            with tx.begin_nested():
                tx.execute(self._row(self._outcome, keys=keys))
        except SQLAlchemyError as error:
            if is_disconnected(error):
                raise
            self._warn(error)
        self._is_written = True

    def finish(self, detail: str, *, refused: bool = False) -> None:
        """Set what is written down at the end: what was done, or why it was refused."""
        self._outcome = ActOutcome.REFUSED if refused else ActOutcome.DONE
        self._detail = detail

    def end(self, error: BaseException | None) -> None:
        """Write down the end, unless `done` has, and log it; a command tells the person itself.

        error -- what ended it; a mistake or an unusable database before the begin is no act
        """
        if error is not None:
            if isinstance(error, UsageError | DatabaseUnusableError) and not self._has_begun:
                return
            refused = isinstance(error, UsageError)
            self._outcome = ActOutcome.REFUSED if refused else ActOutcome.FAILED
            self._detail, self._is_written = in_one_line(error), False
        if self._begun is None and error is not None and is_disconnected(error):
            self._warn(error)  # another attempt would only make the person wait
        elif not self._is_written:
            self._write()
        if self._what["origin"] == Origin.COMMAND:
            return
        events.ACT_FINISHED.log(
            **self._what,
            outcome=self._outcome.value,
            detail=_kept(self._detail, _TEXT) or None,
            duration_ms=self._duration(),
        )

    def _write(self) -> None:
        try:
            with self._database.transaction() as tx:
                tx.execute(self._row(self._outcome))
        except SQLAlchemyError as error:
            self._warn(error)

    def _row(self, outcome: ActOutcome, keys: Iterable[str | None] = ()) -> Insert:
        named = [kept_key(key) for key in keys if key is not None][:_KEYS]
        ends = outcome not in {ActOutcome.BEGUN, ActOutcome.PART}
        return (
            ACT.insert()
            .inline()
            .values(
                **self._what,
                host=INSTANCE,
                begun=self._begun,
                outcome=outcome.value,
                detail=(_kept(self._detail, _TEXT) or None) if ends else None,
                duration_ms=self._duration() if ends else None,
                keys=named or None,
            )
        )

    def _duration(self) -> int:
        return min(round((time.monotonic() - self._started) * 1000), 2**31 - 1)

    def _warn(self, error: BaseException) -> None:
        """Tell once that the record lacks this act: it is not refused for that."""
        if not self._is_warned:
            self._is_warned = True
            what = {name: self._what[name] for name in ("action", "subject", "actor", "origin")}
            events.ACT_NOT_RECORDED.log(**what, error=in_one_line(error))


@dataclass(frozen=True, slots=True)
class Acts:
    """Writes acts down. Where that is impossible it warns, and the act goes on."""

    database: Database

    @contextmanager
    def recording(
        self, action: Action, subject: str, by: By, reason: str | None = None
    ) -> Iterator[Act]:
        """Yield the act that the block does, and write down how it ends.

        subject -- what is acted on, as the person named it

        An act of one transaction calls `done` in it; one of many calls `begin`, once it knows that
        the request makes sense, and `part` in each.
        """
        act = Act(self.database, action, subject, by, reason)
        try:
            yield act
        except BaseException as error:
            act.end(error)
            raise
        act.end(None)


def kept_key(key: str) -> str:
    """Return *key* as the rows hold it: an index takes no text of any length."""
    return key[:_NAME]


def listed(ids: Iterable[int]) -> str:
    """Return the ids of dead letters as a detail names them: how many, and the first hundred."""
    known = list(ids)
    what = "dead letter" if len(known) == 1 else "dead letters"
    first = f": {', '.join(map(str, known[:_LISTED]))}" if known else ""
    return f"{len(known)} {what}{first}{', ...' if len(known) > _LISTED else ''}"


def _kept(text: str, limit: int) -> str:
    """Return *text* as it is kept: bounded, masked, on one line, its control characters visible."""
    return in_line(redact.short(text.strip(), limit))
