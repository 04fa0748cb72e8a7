"""The errors that the sweeper raises, each of which has its docstring as its default message.

* SweeperError -- any failure without a class of its own; exit code 1
  * UsageError -- a command or a request names something that does not exist; exit code 2
  * BusyError -- another operation is under way; exit code 1
  * ChangedError -- what was to be acted on is not what was seen any more; exit code 1
  * StoppedError -- a dry run was asked to stop before its end
  * DatabaseUnusableError -- Postgres, or pgmq in it, cannot be used; exit code 69
    * LockedError -- another session holds a lock of ours for too long; exit code 69
    * ClockSkewedError -- this host's clock and the database's differ too much; exit code 69
  * SettingsError -- the settings are not valid; exit code 78
    * CatalogError -- the job package's exports do not fit together; exit code 78
  * RejectedError -- a handler rejects a job, which is dead-lettered without a retry
  * OutsideError -- a call to a provider failed; a later call may succeed
    * LostReplyError -- the call may have been carried out, but no reply came
    * RefusedError -- the provider rejects our credentials or account, which opens the circuit
    * ThrottledError -- the provider enforces a rate limit and says how long to wait

Errors without an exit code are raised in a job's handler and never end a command.
"""

import inspect
from datetime import timedelta
from typing import ClassVar


class SweeperError(Exception):
    """The sweeper failed for a reason that has no error class of its own."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return super().__str__() or inspect.cleandoc(self.__doc__ or "")


class UsageError(SweeperError):
    """The command names something that does not exist; see --help."""

    exit_code = 2


class BusyError(SweeperError):
    """Something else is being done at this moment; try again in a few seconds."""


class ChangedError(SweeperError):
    """What was to be acted on is not what was seen any more; look again."""


class StoppedError(SweeperError):
    """The dry run was stopped before its end, and changed nothing."""


class DatabaseUnusableError(SweeperError):
    """The database, or pgmq in it, cannot be used."""

    exit_code = 69


class LockedError(DatabaseUnusableError):
    """Another session holds a lock that is needed, and did not let go in time."""


class ClockSkewedError(DatabaseUnusableError):
    """This host's clock and the database's differ too much to tell which rows are due."""


class SettingsError(SweeperError):
    """The settings are not valid."""

    exit_code = 78


class CatalogError(SettingsError):
    """The exports of the job package do not fit together."""


class RejectedError(SweeperError):
    """The job can never succeed: a handler raises this, and the job is dead at once."""


class OutsideError(SweeperError):
    """The provider failed to do what was asked; a later call may succeed."""


class LostReplyError(OutsideError):
    """The provider did not reply, so it is not known whether it did what was asked."""


class RefusedError(OutsideError):
    """The provider does not accept our credentials, our account or our configuration."""


class ThrottledError(OutsideError):
    """The provider asks to wait.

    wait  -- how long to wait before the next call
    alone -- whether only this job must wait, so that calls for other jobs may go on
    """

    def __init__(self, message: str, wait: timedelta, *, alone: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        self.alone = alone
