"""The standard streams of a command: present even where they are closed, and written to the end."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from sweeper.errors import SweeperError

_FAILED_WRITES = {errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


def open_closed() -> None:
    """Let a stream that the caller closed lead nowhere; Python has none at all then."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 -- it stays open


@contextmanager
def written() -> Iterator[None]:
    """Write out what the body printed.

    A reader that has left, such as `head`, ends the process quietly, with exit code 1. Raises
    SweeperError where the output cannot be written.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in _FAILED_WRITES or error.filename is not None:
            raise
        # What is still buffered would be tried again, and fail again, when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            raise SystemExit(SweeperError.exit_code) from None
        message = (
            f"the output cannot be written: {error.strerror}\n"
            "what the command did is done; only what it says of it is lost"
        )
        raise SweeperError(message) from error
