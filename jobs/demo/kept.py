"""Demos that outlive their process: `sweeper demo --stop` finds and removes them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

from jobs.demo.printing import say
from sweeper.postgres.embedded import stop_left

_PREFIX = "sweeper-demo-"
_MARK = "process"  # a file with the process whose demo it is


def new_folder() -> Path:
    """Create the folder of a demo, marked as that of this process."""
    folder = Path(mkdtemp(prefix=_PREFIX))
    begun = folder / f"{_MARK}.begun"
    begun.write_text(str(os.getpid()), "ascii")
    begun.rename(folder / _MARK)
    return folder


def stop_kept() -> int:
    """Stop and remove the demos of this user that were kept, or whose process was killed.

    Returns the exit code: 1 if one of them is still in use.
    """
    kept, in_use = [*_kept()], 0
    if not kept:
        say("No demo is kept: there is nothing to stop.")
    for folder in kept:
        if pid := _user_of(folder):
            say(f"The demo in {folder} is in use: end process {pid} first, with Ctrl-C.")
            in_use = 1
            continue
        stop_left(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)
        say(f"The demo in {folder} is stopped and removed.")
    return in_use


def _kept() -> Iterator[Path]:
    """Yield the folders of this user's demos."""
    for folder in sorted(Path(gettempdir()).glob(f"{_PREFIX}*")):
        with suppress(FileNotFoundError):  # it has ended meanwhile
            if folder.lstat().st_uid == os.getuid() and (folder / _MARK).is_file():
                yield folder


def _user_of(folder: Path) -> int | None:
    """Return the process whose demo it is, while it lives."""
    pid = int((folder / _MARK).read_text("ascii"))
    with suppress(ProcessLookupError, PermissionError):  # the latter: the number is another's now
        os.kill(pid, 0)
        return pid
    return None
