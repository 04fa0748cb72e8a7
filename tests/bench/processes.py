"""A contender's processes: started, told what to do, and asked what it took."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.contenders import Contender
from tests.support.paths import ROOT

READY = "ready"
_OURS = ("SWEEPER_", "DATABASE_URL", "DIRECT_URL")
_LAST = 2000  # characters of what a process that failed has said


class Process:
    """One process; what it logs goes into a file, as under systemd."""

    def __init__(self, contender: Contender, url: str, log: Path) -> None:
        self.log = log
        self.peak_mb = 0.0
        module, options = f"tests.bench.{contender.module}", json.dumps(dict(contender.options))
        with log.open("wb") as stderr:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "tests.bench.worker", module, url, options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=ROOT,
                env=environment(),
            )
        self.name = contender.name

    def tell(self, method: str) -> None:
        """Have the process call *method*."""
        assert self._popen.stdin is not None
        self._popen.stdin.write(f"{method}\n")
        self._popen.stdin.flush()

    def wait(self) -> None:
        """Wait until it has done so."""
        assert self._popen.stdout is not None
        answer = self._popen.stdout.readline().strip()
        if not answer:
            message = f"{self.name} failed:\n{self.log.read_text()[-_LAST:]}"
            raise RuntimeError(message)
        if answer != READY:
            self.peak_mb = int(answer) / 1024

    def end(self) -> None:
        """Let the process close its connections and end, or end it where it does not."""
        try:
            self._popen.communicate(timeout=30)
        except (subprocess.TimeoutExpired, OSError):
            self._popen.kill()
            self._popen.wait()

    def logged(self, event: str) -> int:
        """Return how often the process has logged *event*."""
        return self.log.read_text().count(f'"event": "{event}"')


@contextmanager
def processes(contender: Contender, url: str) -> Iterator[list[Process]]:
    """Start the contender's processes, and end them; its tables are there when all are ready."""
    with TemporaryDirectory(prefix="sweeper-bench-") as folder:
        started = [
            Process(contender, url, Path(folder) / f"{n}.log") for n in range(contender.processes)
        ]
        try:
            for process in started:
                process.wait()
            started[0].tell("install")
            started[0].wait()
            yield started
        finally:
            for process in started:
                process.end()


def environment() -> dict[str, str]:
    """Return this process's environment without settings of a sweeper."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
