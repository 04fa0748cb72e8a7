"""One shell session, in which the blocks of a page are typed one after the other."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_MARK = ":: the block has ended ::"

# What a person types or does otherwise than a test can; a block's line -> what is typed instead.
_UNTIL_CTRL_C = re.compile(r"(?m)^(?:sudo )?(sweeper (?:run|demo --serve)\b.*)$")


@dataclass(slots=True)
class Shell:
    """A bash that ends at the first command that fails.

    seconds -- the longest that a block may take
    """

    process: "subprocess.Popen[str]"
    folder: Path
    seconds: float = 300

    def type(self, text: str, place: str = "") -> str:
        """Type a block; return what it printed, and fail with that if a command of it failed.

        place -- where the block stands
        """
        script = self.folder / "block.sh"
        script.write_text(_UNTIL_CTRL_C.sub(r"until_ctrl_c \1", text), "utf-8")
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f". {script} < /dev/null\necho; echo '{_MARK}'\n")
        self.process.stdin.flush()
        watch = threading.Timer(self.seconds, self.kill)
        watch.start()
        printed: list[str] = []
        for line in self.process.stdout:
            if line.rstrip() == _MARK:
                watch.cancel()
                return "".join(printed)
            printed.append(line)
        watch.cancel()
        told = f"{place} failed, or took longer than {self.seconds:.0f} s:"
        message = "\n".join([told, text, "".join(printed)])
        raise AssertionError(message)

    def kill(self) -> None:
        """End the session, and what it has begun."""
        os.killpg(self.process.pid, signal.SIGKILL)


@contextmanager
def shell(folder: Path, start: Path, variables: Mapping[str, str]) -> Iterator[Shell]:
    """Open a session.

    folder    -- for its own files, and those that its commands leave behind
    start     -- where it begins
    variables -- its whole environment
    """
    process = subprocess.Popen(
        ["bash", "--norc", "--noprofile"],
        cwd=start,
        env=dict(variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    session = Shell(process, folder)
    try:
        yield session
    finally:
        if process.poll() is None:
            session.kill()
        process.communicate()
