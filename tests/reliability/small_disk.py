"""A small disk: a file system in memory that can be filled, for a server whose disk is full."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.reliability.missing import MissingError

MEGABYTES = 200
_PIECE = b"\0" * (1 << 20)


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """Mount a file system of MEGABYTES on *folder*; it needs root, and a kernel that lets it."""
    folder.mkdir()
    options = f"size={MEGABYTES}m,mode=755"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        message = f"a small disk cannot be mounted: {mounted.stderr.decode().strip()}"
        raise MissingError(message)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Write a file that takes all that is left of the disk; return its name."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        piece = _PIECE
        while piece:
            try:
                file.write(piece)
            except OSError:
                piece = piece[: len(piece) // 2]
        os.fsync(file.fileno())
    return ballast
