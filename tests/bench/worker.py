"""One process of a contender: it connects, then does what its standard input asks for.

Usage: python -m tests.bench.worker MODULE URL OPTIONS
MODULE has `open_worker(url, **options)`. A line of the input is the name of a method; when that has
returned, a line with the process's peak memory in kB is written.
"""

import json
import re
import resource
import sys
from importlib import import_module
from pathlib import Path
from typing import Protocol

_STATUS = Path("/proc/self/status")
_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


class Worker(Protocol):
    """What each contender has."""

    def enqueue(self) -> None:
        """Send a job for every due order."""

    def work(self) -> None:
        """Work off all jobs."""

    def close(self) -> None:
        """Close the connections."""


def main(module: str, url: str, options: str) -> None:
    """Open the worker, and call its methods until the input ends."""
    answers = sys.stdout
    sys.stdout = sys.stderr  # what a peer prints is no answer
    worker: Worker = import_module(module).open_worker(url, **json.loads(options))
    answers.write("ready\n")
    answers.flush()
    for line in sys.stdin:
        getattr(worker, line.strip(), lambda: None)()
        answers.write(f"{_peak()}\n")
        answers.flush()
    worker.close()


def _peak() -> int:
    """Return the peak memory of this process in kB, without that of the process that forked it."""
    if _STATUS.exists() and (found := _PEAK.search(_STATUS.read_text())):
        return int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # keeps the parent's, beyond exec


if __name__ == "__main__":
    main(*sys.argv[1:])
