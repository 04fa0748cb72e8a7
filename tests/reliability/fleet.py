"""The processes of the service: started, killed, stopped, and started again as systemd would."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

_STOP_SECONDS = 45.0  # as in the unit
_READY_SECONDS = 30.0
_TURN = 0.05
_OURS = ("SWEEPER_", "DATABASE_URL", "DIRECT_URL", "NOTIFY_SOCKET")
TOLD = ("warning", "error", "critical")


class Fleet:
    """Some processes of `sweeper run`; each that ends is started again at once.

    spared   -- how many processes, of the first ones, no signal reaches
    failures -- exit codes of processes that ended though nobody had asked them to
    """

    def __init__(self, count: int, environment: Mapping[str, str], folder: Path) -> None:
        mine = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        self._environment = {**mine, "PYTHONFAULTHANDLER": "1", **environment}
        self._logs = [folder / f"service-{number}.jsonl" for number in range(count)]
        self._processes = list["subprocess.Popen[bytes]"]()
        self._asked = set[int]()  # the ids of processes that were killed or stopped on purpose
        self._lock = Lock()
        self._over = Event()
        self._keeper = Thread(target=self._keep, name="systemd")
        self.spared = 0
        self.failures = list[int]()

    @property
    def size(self) -> int:
        """How many processes there are."""
        return len(self._logs)

    @property
    def pids(self) -> list[int]:
        """The ids of the processes that run now."""
        with self._lock:
            return [process.pid for process in self._processes]

    def start(self) -> None:
        """Start all processes, and watch them."""
        self._processes = [self._spawn(log) for log in self._logs]
        self._keeper.start()

    def signal(self, number: int, what: signal.Signals) -> None:
        """Send a signal to one process; whatever it ends with is meant."""
        with self._lock:
            process = self._processes[self._index(number)]
            self._asked.add(process.pid)
            process.send_signal(what)

    def wait_until_ready(self, number: int) -> None:
        """Return when the process that follows the one just signalled is ready."""
        log = self._logs[self._index(number)]
        begin = log.stat().st_size
        for _ in range(round(_READY_SECONDS / _TURN)):
            if self._over.wait(_TURN) or b'"service.ready"' in log.read_bytes()[begin:]:
                return

    def stop(self) -> list[int]:
        """Ask all processes to stop, and return their exit codes."""
        self._over.set()
        self._keeper.join()
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        return [self._end(process) for process in self._processes]

    def kill(self) -> None:
        """End whatever still runs."""
        self._over.set()
        for process in self._processes:
            process.kill()
            process.wait()

    def position(self) -> list[int]:
        """Return where the logs end now."""
        return [log.stat().st_size for log in self._logs]

    def told(self, since: list[int]) -> Counter[str]:
        """Count the warnings and errors in the logs from a position on, by their events."""
        return Counter(
            str(line["event"]) for line in self.lines(since) if line.get("level") in TOLD
        )

    def lines(self, since: list[int]) -> list[dict[str, Any]]:
        """Return the complete lines of all logs from a position on."""
        found = list[dict[str, Any]]()
        for log, begin in zip(self._logs, since, strict=True):
            for raw in log.read_bytes()[begin:].splitlines():
                try:
                    found.append(json.loads(raw))
                except ValueError:  # cut off by a kill
                    continue
        return found

    def tracebacks(self) -> str:
        """Return what the processes wrote to stderr, where nothing of theirs belongs."""
        return "".join(log.with_suffix(".stderr").read_text() for log in self._logs)

    def _index(self, number: int) -> int:
        return self.spared + number % (self.size - self.spared)

    def _spawn(self, log: Path) -> "subprocess.Popen[bytes]":
        with log.open("ab") as stdout, log.with_suffix(".stderr").open("ab") as stderr:
            return subprocess.Popen(
                [sys.executable, "-m", "sweeper", "run"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )

    def _keep(self) -> None:
        while not self._over.wait(_TURN):
            with self._lock:
                for number, process in enumerate(self._processes):
                    if process.poll() is None:
                        continue
                    if process.pid not in self._asked:
                        self.failures.append(process.returncode)
                    self._processes[number] = self._spawn(self._logs[number])

    def _end(self, process: "subprocess.Popen[bytes]") -> int:
        try:
            return process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return -signal.SIGKILL
