"""The few ways in which the sweeper fails; where no message is given, the docstring is it."""

import inspect
from datetime import timedelta
from typing import ClassVar


class SweeperError(Exception):
    """Something went wrong that the sweeper has no better word for."""

    exit_code: ClassVar[int] = 1

    def __str__(self) -> str:
        return super().__str__() or inspect.cleandoc(self.__doc__ or "")


class UsageError(SweeperError):
    """The command names something that does not exist; see --help."""

    exit_code = 2


class BusyError(SweeperError):
    """Something else is being done at this moment; try again in a few seconds."""


class DatabaseUnusableError(SweeperError):
    """The database, or pgmq in it, cannot be used."""

    exit_code = 69


class ClockSkewedError(DatabaseUnusableError):
    """This host's clock and the database's differ too much to tell who is late."""


class SettingsError(SweeperError):
    """The settings are not valid."""

    exit_code = 78


class CatalogError(SettingsError):
    """The job package does not fit together."""


class RejectedError(SweeperError):
    """The job can never succeed: a handler raises this, and the job is dead at once."""


class OutsideError(SweeperError):
    """The outside world failed to do what was asked, and may do better later."""


class LostReplyError(OutsideError):
    """The outside world was asked and did not answer: nobody knows whether it was done."""


class RefusedError(OutsideError):
    """The outside world does not accept our credentials, our account or our set-up."""


class ThrottledError(OutsideError):
    """The outside world asks to wait.

    wait  -- for how long
    alone -- whether it asks that of this one job only, and others may be tried meanwhile
    """

    def __init__(self, message: str, wait: timedelta, *, alone: bool = False) -> None:
        super().__init__(message)
        self.wait = wait
        self.alone = alone
