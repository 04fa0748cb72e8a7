"""One fault at one exchange with the database: the nth, before it is done or once it is answered.

An exchange is what the driver sends at once, be it one statement or several. The fault is real: a
backend is terminated, a socket is closed, a statement fails, a process is killed.
"""

import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from threading import Event
from typing import Any

import psycopg
from psycopg import errors
from sqlalchemy import event

from sweeper.app import App

BEGIN, COMMIT = "begin isolation level read committed", "; commit"
GONE = "select count(*) from pg_stat_activity where pid = %s"


class Fault(StrEnum):
    """What goes wrong; a number is the SQLSTATE of a statement that fails."""

    CUT = "socket closed"
    TERMINATED = "backend terminated"
    SERIALIZATION = "40001"
    DEADLOCK = "40P01"
    LOCK_TIMEOUT = "55P03"
    DISK_FULL = "53100"
    CANCELLED = "57014"
    KILLED = "process killed"


DISCONNECTS = (Fault.CUT, Fault.TERMINATED)
REFUSALS = tuple(fault for fault in Fault if fault[:2].isdecimal())


class Moment(StrEnum):
    """When it goes wrong.

    Before the exchange, or when the server has done all of it: a disconnect and a kill then come
    with the answer, and a statement that fails takes the place of the commit.
    """

    BEFORE = "before"
    AFTER = "after"


@dataclass(slots=True)
class Injector:
    """Counts the exchanges of one app, and injects one fault.

    at    -- the number of the exchange, from 1; 0 for no fault
    sent  -- what was sent, fault or not
    fired -- whether the fault was injected
    """

    admin: psycopg.Connection
    at: int = 0
    fault: Fault = Fault.CUT
    moment: Moment = Moment.BEFORE
    sent: list[str] = field(default_factory=list)
    fired: bool = False

    def attach(self, app: App) -> None:
        """Watch every connection that *app* will open."""

        def connect(
            _dialect: Any, _record: Any, arguments: Any, options: Any
        ) -> psycopg.Connection:
            opened = _Connection.connect(*arguments, **options | {"cursor_factory": _Cursor})
            opened.injector = self
            return opened

        event.listen(app.database._engine, "do_connect", connect)

    @contextmanager
    def exchange(self, connection: "_Connection", text: str) -> Iterator[list[str]]:
        """Count one exchange, and inject the fault if it is the one; yield what is to be sent."""
        self.sent.append(text)
        if len(self.sent) != self.at:
            yield [text]
            return
        self.fired = True
        if self.fault in REFUSALS:
            yield self._failing(text)
            return
        if self.moment is Moment.BEFORE:
            self._strike(connection)
            yield [text]
            return
        yield [text]
        self._strike(connection)
        connection.close()
        lost = errors.AdminShutdown if self.fault is Fault.TERMINATED else psycopg.OperationalError
        message = "the answer was lost"
        raise lost(message)

    def _strike(self, connection: "_Connection") -> None:
        """Kill the process, or end the session and wait until the server has rolled it back."""
        if self.fault is Fault.KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        pid = connection.info.backend_pid
        if self.fault is Fault.TERMINATED:
            self.admin.execute("select pg_terminate_backend(%s)", (pid,))
        else:
            with socket.socket(fileno=os.dup(connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)
        while self.admin.execute(GONE, (pid,)).fetchone() != (0,):
            Event().wait(0.001)

    def _failing(self, text: str) -> list[str]:
        """Return statements that fail as *text* would, at its begin or at its end."""
        fail = f"do $$ begin raise 'planted' using errcode = '{self.fault}'; end $$"
        if text in {"COMMIT", "ROLLBACK"}:
            return ["rollback", fail]
        if self.moment is Moment.AFTER:
            done, commits, _ = text.rpartition(COMMIT)
            return [done, "rollback", fail] if commits else [text, fail]
        if text.startswith(BEGIN):
            return [BEGIN, fail]
        return [fail]


class _Cursor(psycopg.ClientCursor[Any]):
    """Sends its statements through the injector, with their values in the text."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        text = self.mogrify(query, params) if params else query
        connection = self.connection
        assert isinstance(connection, _Connection)
        with connection.injector.exchange(connection, text) as sent:
            return super().execute("; ".join(sent), **options)


class _Connection(psycopg.Connection[Any]):
    """Sends its own commands, such as a commit, through the injector."""

    injector: Injector

    def _exec_command(self, command: Any, *arguments: Any) -> Any:
        text = command.decode() if isinstance(command, bytes) else command.as_string(self)
        with self.injector.exchange(self, text) as sent:
            for each in sent:
                result = yield from super()._exec_command(each.encode(), *arguments)
            return result


def in_a_child(work: Callable[[], object]) -> bool:
    """Run *work* in a process of its own; return whether it was killed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads have no locks it needs
        pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
