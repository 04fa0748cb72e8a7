"""A terminal: what one shows of a command's output, and what it would take for more than text."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
import unicodedata
from collections.abc import Callable
from typing import Self

_LINES = "\n\t"
_JOINERS = "\u200c\u200d"  # without them some scripts and emoji are not what was written
_LEFT_OUT = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")


def controls(text: str) -> list[str]:
    """Return the characters of *text* that steer a terminal, hide, or turn the text around."""
    text = text.replace("\r\n", "\n")  # how lines of CSV end
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return [c for c in text if c not in _LINES + _JOINERS and unicodedata.category(c) in kinds]


_PARTS = re.compile(r"\x1b\[([?\d;]*)([A-Za-z])|\x1b[()=>][B0]?|(.)", re.DOTALL)

_WHOLE = re.compile(
    r".*?(?=\x1b(?:\[[?\d;]*)?\Z|\Z)", re.DOTALL
)  # but for a sequence that has begun


class Screen:
    """What a terminal of this size shows, of the sequences that rich writes.

    scrolled -- the lines that have left it at the top
    folded   -- how often a line went on below, because it was too long
    """

    def __init__(self, columns: int = 80, rows: int = 24) -> None:
        self.columns, self.rows = columns, rows
        self.scrolled: list[str] = []
        self.folded = 0
        self._lines = [[" "] * columns for _ in range(rows)]
        self._row = self._column = 0

    @property
    def text(self) -> str:
        """Everything that it shows or has shown, without what was overwritten."""
        return "\n".join([*self.scrolled, *self.lines]).rstrip()

    @property
    def lines(self) -> list[str]:
        """The lines that it shows now."""
        return ["".join(line).rstrip() for line in self._lines]

    def feed(self, text: str) -> None:
        """Show what was written to the terminal."""
        for found in _PARTS.finditer(text):
            if found[2]:
                self._obey(found[2], found[1])
            elif found[3]:
                self._write(found[3])

    def _write(self, character: str) -> None:
        if character == "\r":
            self._column = 0
        elif character == "\n":
            self._down()
        elif character >= " ":
            if self._column == self.columns:
                self.folded += 1
                self._column = 0
                self._down()
            self._lines[self._row][self._column] = character
            self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == self.rows:
            self.scrolled.append("".join(self._lines.pop(0)).rstrip())
            self._lines.append([" "] * self.columns)
            self._row -= 1

    def _obey(self, command: str, values: str) -> None:
        number = int(values) if values.isdigit() else 0
        match command:
            case "A":
                self._row = max(0, self._row - max(1, number))
            case "H":
                self._row = self._column = 0
            case "K":
                start = 0 if number == 2 else self._column
                self._lines[self._row][start:] = [" "] * (self.columns - start)
            case "J" | "h" | "l" if command == "J" or values == "?1049":
                self._lines = [[" "] * self.columns for _ in range(self.rows)]


class Terminal:
    """A command of the sweeper in a terminal of its own, and the screen that it writes to."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.screen = Screen()
        self.written = ""
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._unfinished = ""
        self._master, slave = pty.openpty()
        size = struct.pack("HHHH", self.screen.rows, self.screen.columns, 0, 0)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
        own = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sweeper", *arguments],
            env={**own, "TERM": "xterm-256color", **variables},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
        )
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    def until(self, holds: Callable[[Screen], object], seconds: float = 30) -> Screen:
        """Return the screen once *holds* is true of it, or the command has ended."""
        deadline = time.monotonic() + seconds
        while not holds(self.screen):
            left = deadline - time.monotonic()
            assert left > 0, self.screen.text
            if select.select([self._master], [], [], left)[0] and not self._read():
                break
        return self.screen

    def ended(self, seconds: float = 60) -> tuple[int, Screen]:
        """Return the exit code, and the screen at the end."""
        self.until(lambda _screen: False, seconds)
        return self.process.wait(timeout=10), self.screen

    def _read(self) -> bool:
        """Show what was written meanwhile; return false at the end of it."""
        try:
            written = os.read(self._master, 65_536)
        except OSError:  # how Linux tells that nobody has it open any more
            return False
        text = self._decode(written)
        self.written += text
        self._unfinished += text
        shown = _WHOLE.match(self._unfinished)
        assert shown
        self.screen.feed(shown[0])
        self._unfinished = self._unfinished[shown.end() :]
        return bool(written)


def at_a_terminal(url: str, *arguments: str, **variables: str) -> str:
    """Run a command at a terminal of 80 columns; return all that is written to it."""
    needed = {"DATABASE_URL": url, "SWEEPER_STOCK__TAKEN_AT": "checkout"}
    with Terminal(*arguments, **needed | variables) as terminal:
        terminal.ended()
        return terminal.written.replace("\r\n", "\n")
