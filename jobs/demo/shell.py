"""The commands that the demo prints, as they can be typed into the reader's shell."""

import shlex
import shutil
import sys
from pathlib import Path

from jobs.demo.environment import TAKEN_AT, DemoEnvironment


def command(words: str) -> str:
    """Return a command of the sweeper, by a name under which this shell finds this one."""
    return f"{_program()} {words}"


def export(demo: DemoEnvironment) -> str:
    """Return the line after which the commands of a shell reach the demo, and nothing else."""
    settings = {
        "DATABASE_URL": demo.url,
        "DIRECT_URL": "",
        "SWEEPER_STOCK__TAKEN_AT": TAKEN_AT,
        "SWEEPER_CONFIG": "/dev/null",
    }
    given = (f"{name}={shlex.quote(value) if value else ''}" for name, value in settings.items())
    return f"export {' '.join(given)}"


def _program() -> str:
    began = Path(sys.argv[0]).absolute()
    if began.name == "__main__.py":
        return f"{_from_here(Path(sys.executable))} -m sweeper"
    found = shutil.which("sweeper")
    if found and Path(found).resolve() == began.resolve():
        return "sweeper"
    return _from_here(began)


def _from_here(path: Path) -> str:
    """Return a path as it is typed in the folder of the reader, who stays there."""
    here = Path.cwd()
    return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))
